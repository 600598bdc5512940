"""
Calls that hide a canary in every place that may hold somebody's data; `python canaries.py SITUATION`, by variable.
"""

import contextlib
import gc
import os

import openai

SITUATION = os.environ["SITUATION"]
WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "canary-tool", "parameters": WEATHER}}
MESSAGES = [
    {"role": "system", "content": "canary-system"},
    {"role": "user", "content": "canary-prompt"},
    {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"location": "canary-arguments"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "canary-result"},
]
client = openai.OpenAI(
    api_key=os.environ["CANARY_KEY"],
    max_retries=1 if SITUATION == "retried" else 0,
    default_headers={"x-canary": "canary-header", "cookie": "session=canary-cookie"},
    default_query={"token": "canary-query"},
    base_url="http://127.0.0.1:9/v1" if SITUATION == "connection error" else None,
)
create = client.chat.completions.with_options if False else client.chat.completions.create
arguments = {"model": "gpt-4o-mini", "messages": MESSAGES, "tools": [TOOL], "metadata": {"note": "canary-metadata"}}


def broken(*_arguments, **_named):
    """
    Fail as our own code might, with user data in the exception.
    """
    raise ValueError("canary-prompt canary-answer", MESSAGES)


if SITUATION == "own failure at the start":
    import otel_llm.pipeline

    otel_llm.pipeline.started = broken
if SITUATION == "own failure at the end":
    import otel_llm.pipeline

    otel_llm.pipeline.described = broken
if SITUATION == "own failure while reading":
    import otel_llm.capture.exchange

    otel_llm.capture.exchange.Exchange.whole = broken

with contextlib.suppress(openai.APIError):
    if SITUATION == "stream":
        list(create(**arguments, stream=True))
    elif SITUATION == "abandoned stream":
        next(create(**arguments, stream=True))
        gc.collect()
    elif SITUATION == "exception of the application":
        with contextlib.suppress(RuntimeError):
            for chunk in create(**arguments, stream=True):
                raise RuntimeError(f"canary-prompt {chunk}")
    elif SITUATION == "responses":
        client.responses.create(
            model="gpt-4o-mini",
            instructions="canary-system",
            input="canary-prompt",
            metadata={"note": "canary-metadata"},
        )
    elif SITUATION == "embeddings":
        client.embeddings.create(model="text-embedding-3-small", input="canary-prompt")
    elif SITUATION == "completions":
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt="canary-prompt")
    else:
        create(**arguments)
