"""A message by the beta interface."""

from anthropic import Anthropic

Anthropic().beta.messages.create(
    model="claude-sonnet-4-6", max_tokens=100, messages=[{"role": "user", "content": "Say this is a test."}]
)
