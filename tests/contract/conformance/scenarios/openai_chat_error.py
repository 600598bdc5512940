"""A chat completion that the provider refuses, for good."""

import contextlib

from openai import InternalServerError, OpenAI

with contextlib.suppress(InternalServerError):
    OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Fail, please."}]
    )
