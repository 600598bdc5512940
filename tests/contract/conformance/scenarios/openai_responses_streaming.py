"""A streamed response."""

from openai import OpenAI

for _ in OpenAI().responses.create(model="gpt-4o-mini", input="Say this is a test.", stream=True):
    pass
