"""A streamed message."""

from anthropic import Anthropic

with Anthropic().messages.create(
    model="claude-sonnet-4-6",
    max_tokens=100,
    system="You are a helpful assistant.",
    messages=[{"role": "user", "content": "Say this is a test."}],
    stream=True,
) as stream:
    for _ in stream:
        pass
