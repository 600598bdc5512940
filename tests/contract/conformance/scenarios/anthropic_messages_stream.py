"""A message by the SDK's stream helper."""

from anthropic import Anthropic

with Anthropic().messages.stream(
    model="claude-sonnet-4-6", max_tokens=100, messages=[{"role": "user", "content": "Say this is a test."}]
) as stream:
    stream.get_final_message()
