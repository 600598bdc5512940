"""
An application that asks two providers about the weather. It knows nothing of otel-llm or OpenTelemetry.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import anthropic
import openai

CHAT = "gpt-4o-mini"
REASONING = "gpt-5.4-nano"
EMBEDDING = "text-embedding-3-small"
CLAUDE = "claude-haiku-5-5"

QUESTION = "Will it rain in Lisbon tomorrow? Answer in one sentence."
HANDBOOK = "Forecasts are given in degrees Celsius, wind in knots, rain in millimetres an hour. " * 300
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def user(text: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


def chat(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=CHAT, messages=user(QUESTION))


def chat_stream(client: openai.OpenAI) -> None:
    for _ in client.chat.completions.create(model=CHAT, messages=user(QUESTION), stream=True):
        pass


def chat_stream_with_usage(client: openai.OpenAI) -> None:
    counted = {"include_usage": True}
    for _ in client.chat.completions.create(model=CHAT, messages=user(QUESTION), stream=True, stream_options=counted):
        pass


def responses(client: openai.OpenAI) -> None:
    client.responses.create(model=REASONING, input=QUESTION)


def responses_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model=REASONING, input=QUESTION) as stream:
        stream.until_done()


def tool_call(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "get_forecast", "parameters": PARAMETERS}}
    messages = user("What is the forecast for Lisbon?")
    answer = client.chat.completions.create(model=CHAT, messages=messages, tools=[tool]).choices[0].message
    messages.append(answer)
    for call in answer.tool_calls or []:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny, 24 degrees"})
    client.chat.completions.create(model=CHAT, messages=messages, tools=[tool])


def embeddings(client: openai.OpenAI) -> None:
    client.embeddings.create(model=EMBEDDING, input=["sunny", "a light breeze", "rain from the west"])


def abandoned_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model=CHAT, messages=user(QUESTION), stream=True) as stream:
        next(stream)


def twenty_at_once(_: openai.OpenAI) -> None:
    asyncio.run(ask_twenty())


async def ask_twenty() -> None:
    async with openai.AsyncOpenAI() as client:
        cities = [f"Is it windy in city number {number}?" for number in range(1, 21)]
        await asyncio.gather(*(client.chat.completions.create(model=CHAT, messages=user(city)) for city in cities))


def busy_then_fine(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=CHAT, messages=user("A question asked at a busy hour."))


def quota_used_up(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=CHAT, messages=user("A question beyond the quota."))


def wrong_key(_: openai.OpenAI) -> None:
    with openai.OpenAI(api_key="sk-mistyped") as client:
        client.chat.completions.create(model=CHAT, messages=user("A question with a mistyped key."))


def claude_cached(client: anthropic.Anthropic) -> None:
    system = [{"type": "text", "text": HANDBOOK, "cache_control": {"type": "ephemeral"}}]
    for question in ("How is wind given?", "How is rain given?"):
        client.messages.create(model=CLAUDE, max_tokens=200, system=system, messages=user(question))


def claude_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=CLAUDE, max_tokens=200, messages=user(QUESTION)) as stream:
        for _ in stream.text_stream:
            pass


def attempt(call: Callable[[Any], None], client: object) -> None:
    try:
        call(client)
    except (openai.APIError, anthropic.APIError) as error:
        print(f"{call.__name__}: {type(error).__name__}", flush=True)
    else:
        print(f"{call.__name__}: fine", flush=True)


def ask_openai() -> None:
    with openai.OpenAI() as client:
        for call in (chat, chat_stream, chat_stream_with_usage, responses, responses_stream):
            attempt(call, client)
        for call in (tool_call, embeddings, abandoned_stream, wrong_key):
            attempt(call, client)
        if "OPENAI_BASE_URL" in os.environ:  # the real one is busy when it likes
            attempt(busy_then_fine, client)
            attempt(quota_used_up, client)
        attempt(twenty_at_once, client)


def ask_anthropic() -> None:
    with anthropic.Anthropic() as client:
        attempt(claude_cached, client)
        attempt(claude_stream, client)


if __name__ == "__main__":
    if os.environ.get("OPENAI_API_KEY"):
        ask_openai()
    if os.environ.get("ANTHROPIC_API_KEY"):
        ask_anthropic()
