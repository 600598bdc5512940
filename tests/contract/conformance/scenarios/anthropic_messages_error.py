"""A message that the provider refuses, for good."""

import contextlib

from anthropic import Anthropic, APIStatusError

with contextlib.suppress(APIStatusError):
    Anthropic(max_retries=0).messages.create(
        model="claude-sonnet-4-6", max_tokens=100, messages=[{"role": "user", "content": "Fail, please."}]
    )
