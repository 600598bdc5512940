"""A stored response, fetched by its id; the mock server stores none."""

import contextlib

from openai import NotFoundError, OpenAI

with contextlib.suppress(NotFoundError):
    OpenAI().responses.retrieve("resp_0123456789abcdef")
