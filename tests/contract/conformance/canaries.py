"""
Calls in every situation, with canaries in every place that may hold somebody's data; the model names the situation.
"""

import contextlib
import gc
import json
import os
from unittest.mock import patch

import anthropic
import openai

import otel_llm.capture.exchange
import otel_llm.pipeline
from otel_llm.telemetry import account

PROMPT = os.environ.get("CANARY_PROMPT", "canary-prompt")
WEATHER = {"type": "object", "properties": {"location": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "canary-tool", "parameters": WEATHER}}
CALLED = {"name": "get_weather", "arguments": '{"location": "canary-arguments"}'}
MESSAGES = [
    {"role": "system", "content": "canary-system"},
    {"role": "user", "content": PROMPT},
    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": CALLED}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "canary-result"},
]
CLIENT = {
    "api_key": os.environ["CANARY_KEY"],
    "default_headers": {"x-canary": "canary-header", "cookie": "session=canary-cookie"},
    "default_query": {"token": "canary-query"},
}
client = openai.OpenAI(**CLIENT, max_retries=0)


def ask(situation, by=client, **more):
    """
    Make a chat call and let pass what fails on purpose.
    """
    with contextlib.suppress(openai.APIError, json.JSONDecodeError):
        return by.chat.completions.create(
            model=situation, messages=MESSAGES, tools=[TOOL], metadata={"note": "canary-metadata"}, **more
        )


def read(stream):
    """
    Read a stream as far as it goes.
    """
    with contextlib.suppress(openai.APIError):
        list(stream)


def broken(*_arguments, **_named):
    """
    Fail as our own code might, with somebody's data in the exception.
    """
    raise ValueError("canary-prompt canary-answer", MESSAGES)


def fail(chunk):
    """
    Fail as the application might, with somebody's data in the exception and in the failing line.
    """
    raise RuntimeError(f"canary-prompt {chunk}")


for situation in os.environ["SITUATIONS"].split(","):
    ask(situation)
read(ask("stream", stream=True))
read(ask("error-in-a-stream", stream=True))
next(ask("abandoned-stream", stream=True))
gc.collect()
with contextlib.suppress(RuntimeError):
    for chunk in ask("exception-of-the-application", stream=True):
        fail(chunk)
ask("retried", openai.OpenAI(**CLIENT, max_retries=1))
ask("connection-error", openai.OpenAI(**CLIENT, max_retries=0, base_url="http://127.0.0.1:9/v1"))
client.responses.create(
    model="responses", instructions="canary-system", input=PROMPT, metadata={"note": "canary-metadata"}
)
client.embeddings.create(model="embeddings", input=PROMPT)
client.completions.create(model="completions", prompt=PROMPT)
claude = anthropic.Anthropic(**CLIENT, max_retries=0)
for situation in ("anthropic", "anthropic-unknown-error", "anthropic-text-error"):
    with contextlib.suppress(anthropic.APIError):
        claude.messages.create(
            model=situation,
            max_tokens=5,
            system="canary-system",
            messages=[{"role": "user", "content": PROMPT}],
        )
with patch.object(otel_llm.pipeline, "started", broken):
    ask("own-failure-at-the-start")
with patch.object(account, "described", broken):
    ask("own-failure-at-the-end")
with patch.object(otel_llm.capture.exchange.Exchange, "whole", broken):
    ask("own-failure-while-reading")
