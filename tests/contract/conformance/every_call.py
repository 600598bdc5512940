"""
One call of every kind with the openai and anthropic SDKs; what fails is expected to fail.
"""

import asyncio
import contextlib

import anthropic
import httpx2
import openai

SYSTEM = "You are a helpful assistant."
WEATHER = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
}
PARAMETERS = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 100, "stop": ["END"], "seed": 42}
PENALTIES = {"frequency_penalty": 0.5, "presence_penalty": 0.25}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


def user(content="Say this is a test."):
    return {"role": "user", "content": content}


def expect(error, call, **arguments):
    """
    Call and let the error pass that is expected.
    """
    with contextlib.suppress(error):
        call(**arguments)
        raise AssertionError(f"{error} was expected")


client = openai.OpenAI(max_retries=1)
chat = client.chat.completions.create

chat(model="gpt-4o-mini", messages=[{"role": "system", "content": SYSTEM}, user()], **PARAMETERS, **PENALTIES)
list(chat(model="gpt-4o-mini", messages=[user()], stream=True))
list(chat(model="gpt-4o-mini", messages=[user()], stream=True, stream_options={"include_usage": True}))
chat(model="gpt-4o", messages=[user()], n=2, service_tier="flex", response_format={"type": "json_object"})
chat(model="o3-mini", messages=[user()], reasoning_effort="low", max_completion_tokens=500, user="user-7")
chat(
    model="gpt-4o",
    messages=[user([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": IMAGE}}])],
)
tool = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": WEATHER}}
asked = chat(model="gpt-4o", messages=[user("Weather?")], tools=[tool]).choices[0].message
told = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "sunny"}
chat(model="gpt-4o", messages=[user("Weather?"), asked, told], tools=[tool])
list(chat(model="gpt-4o", messages=[user("Weather?")], tools=[tool], stream=True))
client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", max_tokens=5)
client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=8)
client.embeddings.create(model="text-embedding-3-small", input="one", encoding_format="float")

first = client.responses.create(model="gpt-4o-mini", instructions=SYSTEM, input="My colour is blue.")
client.responses.create(model="gpt-4o-mini", input="Which is it?", previous_response_id=first.id, temperature=0.5)
client.responses.retrieve(first.id)
list(client.responses.create(model="gpt-4o-mini", input="Which is it?", stream=True))
client.responses.create(
    model="gpt-4o-mini",
    input="Weather?",
    tools=[{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}],
)
background = client.responses.create(model="gpt-4o-mini", input="Which is it?", background=True)
client.responses.retrieve(background.id)

expect(openai.AuthenticationError, chat, model="fails-401", messages=[user()])
expect(openai.RateLimitError, chat, model="fails-429", messages=[user()])
expect(openai.NotFoundError, client.responses.retrieve, response_id="resp_nobody")
expect(openai.InternalServerError, client.embeddings.create, model="fails-500", input="one")
expect(openai.APIConnectionError, chat, model="fails-cut", messages=[user()])
expect(
    openai.APIConnectionError,
    openai.OpenAI(base_url="http://127.0.0.1:9/v1", max_retries=0).chat.completions.create,
    model="gpt-4o",
    messages=[user()],
)
chat(model="retried-429", messages=[user()])
stream = chat(model="abandoned", messages=[user()], stream=True)
next(stream)
stream.close()

claude = anthropic.Anthropic(max_retries=1)
say = claude.messages.create
SONNET = {"model": "claude-sonnet-4-6", "max_tokens": 100}
SAMPLING = {"temperature": 0.7, "top_p": 0.9, "top_k": 40}
cached = [{"type": "text", "text": SYSTEM * 400, "cache_control": {"type": "ephemeral"}}]
say(**SONNET, system=SYSTEM, messages=[user()], stop_sequences=["END"], extra_body=SAMPLING)
say(**SONNET, system=cached, messages=[user()])
say(**SONNET, system=cached, messages=[user()], metadata={"user_id": "user-7"})
list(say(**SONNET, messages=[user()], stream=True))
with claude.messages.stream(**SONNET, messages=[user()]) as events:
    events.get_final_message()
weather = {"name": "get_weather", "description": "Weather.", "input_schema": WEATHER}
answer = say(**SONNET, messages=[user("Weather?")], tools=[weather])
used = next(part for part in answer.content if part.type == "tool_use")
result = {"type": "tool_result", "tool_use_id": used.id, "content": "sunny"}
say(
    **SONNET,
    messages=[user("Weather?"), {"role": "assistant", "content": answer.content}, user([result])],
    tools=[weather],
)
say(model="claude-sonnet-4-6", max_tokens=2000, messages=[user()], thinking={"type": "enabled", "budget_tokens": 1024})
claude.beta.messages.create(**SONNET, messages=[user()])
expect(anthropic.RateLimitError, say, model="fails-429", max_tokens=5, messages=[user()])
expect(anthropic.InternalServerError, say, model="fails-529", max_tokens=5, messages=[user()])


async def gather():
    """
    Do the same with both SDKs' asynchronous clients.
    """
    one, other = openai.AsyncOpenAI(), anthropic.AsyncAnthropic()
    await asyncio.gather(*(one.chat.completions.create(model="gpt-4o-mini", messages=[user(str(n))]) for n in range(3)))
    async for _ in await one.responses.create(model="gpt-4o-mini", input="Which is it?", stream=True):
        pass
    async for _ in await other.messages.create(**SONNET, messages=[user()], stream=True):
        pass


asyncio.run(gather())
httpx2.post(
    f"{client.base_url}chat/completions", json={"model": "gpt-4o-mini", "messages": [user()]}
).raise_for_status()
