"""A message whose HTTP response is asked for, plain and streamed."""

from anthropic import Anthropic

client = Anthropic()
ask = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say this is a test."}],
}
client.messages.with_raw_response.create(**ask).parse()
for _ in client.messages.with_raw_response.create(**ask, stream=True).parse():
    pass
