"""A streamed chat completion that asks for its usage."""

from openai import OpenAI

stream = OpenAI().chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Say this is a test."}],
    stream=True,
    stream_options={"include_usage": True},
)
for _ in stream:
    pass
