"""A message with every common parameter; the current SDK leaves sampling to the body."""

from anthropic import Anthropic

Anthropic().messages.create(
    model="claude-sonnet-4-6",
    max_tokens=100,
    system="You are a helpful assistant.",
    messages=[{"role": "user", "content": "Say this is a test."}],
    stop_sequences=["END"],
    extra_body={"temperature": 0.7, "top_p": 0.9, "top_k": 40},
)
