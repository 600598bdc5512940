"""A response by the SDK's stream helper."""

from openai import OpenAI

with OpenAI().responses.stream(
    model="gpt-4o-mini", instructions="You are a helpful assistant.", input="Say this is a test."
) as stream:
    stream.until_done()
