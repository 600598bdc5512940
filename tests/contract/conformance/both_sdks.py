"""
A few calls with both SDKs, each in a span that names it: what an application with another instrumentation does.
"""

import asyncio
import contextlib
import os

import anthropic
import openai
from opentelemetry import trace

if os.environ.get("PEER") == "logfire":
    import logfire
    import telemetry_dump
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    # Logfire makes providers of its own, which export where it is told in code.
    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[SimpleSpanProcessor(telemetry_dump.Spans())],
        metrics=logfire.MetricsOptions(additional_readers=[PeriodicExportingMetricReader(telemetry_dump.Metrics())]),
    )
    logfire.instrument_openai()
    logfire.instrument_anthropic()
if os.environ.get("PEER") == "openlit":
    import openlit

    openlit.init(disabled_instrumentors=["httpx", "requests", "urllib", "urllib3", "aiohttp-client"])

tracer = trace.get_tracer("application")
client, claude = openai.OpenAI(max_retries=1), anthropic.Anthropic(max_retries=1)
MESSAGES = [{"role": "user", "content": "Say this is a test."}]
RETRIED = [{"role": "user", "content": "Try again."}]
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}
CLAUDE = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": MESSAGES}


def read(stream):
    """
    Read a stream to its end.
    """
    for _ in stream:
        pass


def refused():
    """
    Make a call that the provider refuses.
    """
    with contextlib.suppress(openai.AuthenticationError):
        client.chat.completions.create(model="fails-401", messages=MESSAGES)


async def chat():
    """
    Make a call with the asynchronous client.
    """
    await openai.AsyncOpenAI().chat.completions.create(**CHAT)


SITUATIONS = {
    "openai chat": lambda: client.chat.completions.create(**CHAT),
    "openai stream": lambda: read(
        client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    ),
    "openai async": lambda: asyncio.run(chat()),
    "openai retried": lambda: client.chat.completions.create(model="gpt-4o-mini", messages=RETRIED),
    "openai refused": refused,
    "openai embeddings": lambda: client.embeddings.create(model="text-embedding-3-small", input="one"),
    "anthropic message": lambda: claude.messages.create(**CLAUDE),
    "anthropic stream": lambda: read(claude.messages.create(**CLAUDE, stream=True)),
}

for name, call in SITUATIONS.items():
    with tracer.start_as_current_span(name):
        call()
