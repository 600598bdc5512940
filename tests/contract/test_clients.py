"""
What is captured of a provider SDK's call: one span, one record, one count of tokens, whatever way the call goes.
"""

import asyncio
import contextvars
import threading
from contextlib import contextmanager

import httpx
import httpx2
import openai
import pytest
from either import drive, items, opened
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, SpanContext
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from outcomes import seen
from sdk_calls import CALLS, CHAT, CHAT_USAGE, CLAUDE_USAGE, COUNTED, MESSAGES, NEVER, ask, client_of

import otel_llm
from otel_llm import diagnostics
from otel_llm.pipeline import Pipeline
from otel_llm.testing import Reply

NATIVE = "com.anthropic.sdk.python"
MISTAKEN_CALLS = {
    f"openai-{name}"
    for name in ("chat", "chat_stream_with_usage", "retry_twice", "rate_limited", "stream_cut", "close_amid")
}
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def told(record):
    """
    Give what a record says of how the call went.
    """
    return {
        "operation": record["gen_ai.operation.name"],
        "provider": record["gen_ai.provider.name"],
        "status": record["otel_llm.status"],
        "attempts": record["otel_llm.attempts"],
        "usage": (record.get("gen_ai.usage.input_tokens"), record.get("gen_ai.usage.output_tokens")),
        "source": record["otel_llm.usage_source"],
    }


def expected(call):
    usage = (1021, None if call.operation == "embeddings" else 37) if call.counted else (None, None)
    if call.cut_short and call.sdk == "anthropic":
        usage = (14, 1)
    return {
        "operation": call.operation,
        "provider": "anthropic" if call.sdk == "anthropic" else "openai",
        "status": call.status,
        "attempts": call.attempts,
        "usage": usage,
        "source": "absent" if usage == (None, None) else "provider",
    }


@both
@pytest.mark.parametrize("call", [call for call in CALLS if call.records], ids=str)
def test_call_is_recorded_as_what_it_was(call, asynchronous, server, telemetry):
    """
    Each call, whatever becomes of it, is one record with its outcome, its attempts and the provider's token counts.
    """
    seen(call, server, asynchronous=asynchronous)
    record = telemetry.record()
    spans = telemetry.spans(NATIVE if call.sdk == "anthropic" else "otel_llm")
    assert (told(record), len(spans), len(telemetry.spans())) == (expected(call), 1, 1)


@both
@pytest.mark.parametrize("call", [call for call in CALLS if not call.records], ids=str)
def test_other_requests_of_an_sdk_are_not_calls(call, asynchronous, server, telemetry):
    """
    A list of models or a count of tokens is no LLM call.
    """
    seen(call, server, asynchronous=asynchronous)
    assert (telemetry.records(), telemetry.spans("otel_llm")) == ([], [])


def test_attempts_are_told_one_by_one(server, telemetry):
    """
    A retried call tells of each attempt what the provider said to it, and lasts from the first to the last.
    """
    server.queue("/chat/completions", Reply.rate_limited(retry_after=0.02), Reply(status=503))
    with client_of("openai", server, asynchronous=False) as client:
        ask_now(client)
    record = telemetry.record()
    log = [dict(attempt) for attempt in record["otel_llm.attempt_log"]]
    assert [attempt["status"] for attempt in log] == [429, 503, 200]
    assert log[0]["retry_after"] == 0.02
    assert len({attempt["request_id"] for attempt in log}) == 3
    assert record["otel_llm.duration"] > sum(attempt["seconds"] for attempt in log)


def test_metrics_count_a_retried_call_once(server, telemetry):
    """
    However often a call is sent, its duration is one measurement and its tokens count once.
    """
    server.queue("", Reply.rate_limited(), Reply(usage=CHAT_USAGE))
    with client_of("openai", server, asynchronous=False) as client:
        ask_now(client)
    points = telemetry.points()
    counts = [point.count for point in points["gen_ai.client.operation.duration"]]
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]}
    assert (counts, tokens["input"], tokens["output"]) == ([1], 1021, 37)


def ask_now(client, **more):
    """
    Make an SDK's plain call with its sync client.
    """
    return drive(ask(client, **more), asynchronous=False)


# --- Which provider ---


class Redirect(httpx2.BaseTransport):
    """
    Sends what is meant for any host to the server on this machine, and leaves the request as it is.
    """

    def __init__(self, server):
        self._inner = httpx2.HTTPTransport()
        self._port = int(server.url.rpartition(":")[2])

    def handle_request(self, request):
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return self._inner.handle_request(
            httpx2.Request(request.method, url, headers=request.headers, content=request.read())
        )

    def close(self):
        self._inner.close()


OPENAI_SHAPED = {
    "https://api.openai.com/v1": "openai",
    "https://eu.api.openai.com/v1": "openai",
    "https://acme.openai.azure.com/openai/v1": "azure.ai.openai",
    "https://acme.services.ai.azure.com/models": "azure.ai.inference",
    "https://acme.services.ai.azure.com/openai/v1": "azure.ai.openai",
    "https://openrouter.ai/api/v1": "openrouter",
    "https://api.groq.com/openai/v1": "groq",
    "https://api.deepseek.com": "deepseek",
    "https://api.x.ai/v1": "x_ai",
    "https://api.mistral.ai/v1": "mistral_ai",
    "https://api.together.xyz/v1": "together",
    "https://api.fireworks.ai/inference/v1": "fireworks",
    "https://api.perplexity.ai": "perplexity",
    "https://api.cerebras.ai/v1": "cerebras",
    "http://localhost:11434/v1": "ollama",
    "http://localhost:8000/v1": "openai",
    "http://vllm.internal:8000/v1": "openai",
    "https://generativelanguage.googleapis.com/v1beta/openai": "gcp.gemini",
}


@pytest.mark.parametrize("url", OPENAI_SHAPED)
def test_host_and_path_name_the_provider(url, server, telemetry):
    """
    The same SDK asks different providers; a host that nobody knows speaks OpenAI's format, and so counts as OpenAI's.
    """
    server.default = Reply(usage=CHAT_USAGE)
    with openai.OpenAI(base_url=url, api_key="k", http_client=httpx2.Client(transport=Redirect(server))) as client:
        ask_now(client)
    record = telemetry.record()
    told_here = record["gen_ai.provider.name"], record["server.address"], record["gen_ai.usage.input_tokens"]
    assert told_here == (OPENAI_SHAPED[url], httpx2.URL(url).host, 1021)


def test_azure_client_is_azure(server, telemetry):
    """
    Azure's own client, whose deployment is in the path, is Azure's and has its model.
    """
    client = openai.AzureOpenAI(
        azure_endpoint="https://acme.openai.azure.com",
        api_version="2024-10-21",
        api_key="k",
        http_client=httpx2.Client(transport=Redirect(server)),
    )
    with client:
        ask_now(client)
    record = telemetry.record()
    assert (record["gen_ai.provider.name"], record["gen_ai.request.model"]) == ("azure.ai.openai", "gpt-4o-mini")


def test_sdk_with_a_client_of_the_other_library(server, telemetry):
    """
    OpenAI's SDK with a legacy httpx client is captured like with its own.
    """
    with openai.OpenAI(base_url=server.openai_url, api_key="k", http_client=httpx.Client()) as client:
        ask_now(client)
    assert telemetry.record()["otel_llm.status"] == "success"


def test_module_level_client_is_captured(server, telemetry, monkeypatch):
    """
    `openai.chat.completions.create` without a client of one's own is a call.
    """
    monkeypatch.setattr(openai, "base_url", f"{server.openai_url}/")
    monkeypatch.setattr(openai, "api_key", "k")
    openai.chat.completions.create(**CHAT)
    assert telemetry.record()["otel_llm.status"] == "success"


# --- Among other instrumentations ---


@both
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_native_span_is_enriched_not_doubled(streamed, asynchronous, server, telemetry):
    """
    Anthropic's SDK makes a span of its own: it gets what we know besides, and there is no second one.
    """
    server.default = Reply(usage=CLAUDE_USAGE)

    async def run():
        async with opened(client_of("anthropic", server, asynchronous=asynchronous)) as client:
            answer = await ask(client, **({"stream": True} if streamed else {}))
            return await items(answer) if streamed else answer

    drive(run(), asynchronous=asynchronous)
    (span,), record = telemetry.spans(), telemetry.record()
    assert span.instrumentation_scope.name == NATIVE
    assert span.attributes["gen_ai.usage.cost"] == record["gen_ai.usage.cost"] > 0
    assert span.attributes["otel_llm.attempts"] == 1
    assert telemetry.logs()[0].span_id == span.context.span_id


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_native_span_can_be_replaced(streamed, server, telemetry, monkeypatch):
    """
    With `native_spans=replace` the one span of a call is ours.
    """
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "")
    monkeypatch.delenv("ANTHROPIC_OPEN_TELEMETRY")
    otel_llm.configure(native_spans="replace")
    with client_of("anthropic", server, asynchronous=False) as client:
        answer = ask_now(client, stream=streamed)
        list(answer)
    (span,) = telemetry.spans()
    assert (span.instrumentation_scope.name, span.name) == ("otel_llm", "chat claude-haiku-5-5")


@contextmanager
def http_spans(sdk):
    """
    Switch OpenTelemetry's own HTTP instrumentation on.
    """
    instrumentor = HTTPXClientInstrumentor() if sdk == "groq" else HTTPX2ClientInstrumentor()
    instrumentor.instrument()
    try:
        yield
    finally:
        instrumentor.uninstrument()


@both
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours-first", "theirs-first"])
@pytest.mark.parametrize("sdk", ["openai", "groq"])
def test_http_spans_are_children_of_the_call(sdk, ours_first, asynchronous, server, telemetry):
    """
    Each attempt's HTTP span lies below the call's, whoever was instrumented first, and is what the provider is told.
    """
    server.queue("", Reply.rate_limited())
    if not ours_first:
        otel_llm.uninstrument()
    with http_spans(sdk):
        otel_llm.instrument()

        async def run():
            async with opened(client_of(sdk, server, asynchronous=asynchronous)) as client:
                await ask(client)

        drive(run(), asynchronous=asynchronous)
        otel_llm.uninstrument()
    (call,) = telemetry.spans("otel_llm")
    attempts = [span for span in telemetry.spans() if span is not call]
    parents = {span.parent.span_id for span in attempts}
    sent = [request.headers["traceparent"].split("-")[2] for request in server.requests]
    assert (len(attempts), parents) == (2, {call.context.span_id})
    assert sent == [f"{span.context.span_id:016x}" for span in attempts]


@both
def test_suppressed_calls_are_not_captured(asynchronous, server, telemetry):
    """
    Who asks OpenTelemetry for silence gets it from us, and its answer.
    """

    async def run():
        async with opened(client_of("openai", server, asynchronous=asynchronous)) as client:
            with suppress_instrumentation():
                return await ask(client), await items(ask(client, stream=True))

    answer, chunks = drive(run(), asynchronous=asynchronous)
    assert (bool(answer.id), len(chunks) > 5, telemetry.records(), telemetry.spans()) == (True, True, [], [])


@both
def test_call_is_below_the_span_around_it(asynchronous, server, telemetry):
    """
    The application's span is the call's parent, and current again as soon as the SDK's method has returned.
    """
    tracer = trace.get_tracer("application")

    async def run():
        async with opened(client_of("openai", server, asynchronous=asynchronous)) as client:
            with tracer.start_as_current_span("around") as around:
                stream = await ask(client, stream=True)
                currents = [trace.get_current_span() is around]
                await items(stream)
                currents.append(trace.get_current_span() is around)
                return around, currents

    around, currents = drive(run(), asynchronous=asynchronous)
    (call,) = telemetry.spans("otel_llm")
    assert (call.parent.span_id, currents) == (around.context.span_id, [True, True])


def test_unsampled_call_is_recorded(server, telemetry):
    """
    A call in a trace that nobody samples has no span, and its record is complete by itself.
    """
    remote = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=True))
    token = otel_context.attach(trace.set_span_in_context(remote))
    try:
        server.default = Reply(usage=CHAT_USAGE)
        with client_of("openai", server, asynchronous=False) as client:
            ask_now(client)
    finally:
        otel_context.detach(token)
    assert (telemetry.spans(), told(telemetry.record())["usage"]) == ([], (1021, 37))
    assert telemetry.logs()[0].trace_id == 0xABC


# --- Tasks, threads, labels ---


async def test_calls_side_by_side_are_calls_of_their_own(server, telemetry):
    """
    Twenty calls in one `gather`, each with its own labels, retries and token counts, are twenty records.
    """
    server.queue("", *[Reply.rate_limited()] * 5)

    async def one(client, number):
        with otel_llm.labels(number=number):
            await client.chat.completions.create(model=f"m-{number}", messages=MESSAGES)

    async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="k", max_retries=5) as client:
        await asyncio.gather(*(one(client, number) for number in range(20)))
    records = telemetry.records(20)
    labels = {record["otel_llm.label.number"]: record["gen_ai.request.model"] for record in records}
    assert labels == {str(number): f"m-{number}" for number in range(20)}
    assert (sum(record["otel_llm.attempts"] for record in records), len(telemetry.spans())) == (25, 20)


async def test_stream_read_in_another_task_is_the_callers(server, telemetry):
    """
    A stream that is handed to another task belongs to the trace and the labels of who asked for it.
    """
    async with client_of("openai", server, asynchronous=True) as client:
        with trace.get_tracer("application").start_as_current_span("around") as around, otel_llm.labels(tenant="t1"):
            stream = await ask(client, stream=True, stream_options=COUNTED)
        await asyncio.create_task(items(stream))
    record, (call,) = telemetry.record(), telemetry.spans("otel_llm")
    assert (record["otel_llm.label.tenant"], call.parent.span_id) == ("t1", around.context.span_id)


def test_stream_read_on_another_thread_is_the_callers(server, telemetry):
    """
    A stream that is handed to another thread is one successful call.
    """
    with client_of("openai", server, asynchronous=False) as client:
        stream = ask_now(client, stream=True)
        reader = threading.Thread(target=list, args=(stream,))
        reader.start()
        reader.join()
    assert telemetry.record()["otel_llm.status"] == "success"


async def test_labels_reach_tasks_and_threads_started_inside(server, telemetry):
    """
    `labels()` holds in tasks and in `to_thread` started inside its block, the inner before the outer, and not after.
    """
    with client_of("openai", server, asynchronous=False) as blocking:
        async with client_of("openai", server, asynchronous=True) as client:
            with otel_llm.labels(tenant="t1", tier="gold"):
                await asyncio.create_task(ask(client))
                with otel_llm.labels(tenant="t2", user_id="u-1"):
                    await asyncio.to_thread(ask_now, blocking)
            await ask(client)
    names = ("otel_llm.label.tenant", "otel_llm.label.tier", "user.id")
    found = [tuple(record.get(name) for name in names) for record in telemetry.records(3)]
    assert found == [("t1", "gold", None), ("t2", "gold", "u-1"), (None, None, None)]


@pytest.mark.parametrize("sdk", ["openai", "anthropic", "groq"])
async def test_call_given_up_by_wait_for_is_cancelled(sdk, server, telemetry):
    """
    A call that its application cancels is cancelled, without an error, at its first attempt.
    """
    server.default = Reply(hold=NEVER, hold_at=0)
    async with client_of(sdk, server, asynchronous=True) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(client), 0.1)
    record = telemetry.record()
    assert (record["otel_llm.status"], record["otel_llm.attempts"], "error.type" in record) == ("cancelled", 1, False)


async def test_cancellation_between_attempts_is_cancelled(server, telemetry):
    """
    A call that is cancelled while the SDK waits to retry is cancelled, with the attempts so far.
    """
    server.default = Reply.rate_limited(retry_after=30)
    async with client_of("openai", server, asynchronous=True) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(client), 0.2)
    record = telemetry.record()
    assert (record["otel_llm.status"], record["otel_llm.attempts"]) == ("cancelled", 1)


# --- Our own mistakes ---


class OwnError(Exception):
    """
    Raised by our own code in the tests below.
    """


def mistaken(*_args, **_kwargs):
    raise OwnError


PLACES = {
    "dialect.request": (OpenAIChat, "request"),
    "dialect.response": (OpenAIChat, "response"),
    "dialect.stream": (OpenAIChat, "stream"),
    "reader.feed": (OpenAIChat().stream(content=False).__class__, "feed"),
    "reader.finish": (OpenAIChat().stream(content=False).__class__, "finish"),
    "pipeline.starts": (Pipeline, "starts"),
    "pipeline.attach": (Pipeline, "attach"),
    "pipeline.detach": (Pipeline, "detach"),
    "pipeline.attempted": (Pipeline, "attempted"),
    "pipeline.ended": (Pipeline, "ended"),
}
UNRECORDED = {"dialect.request", "pipeline.starts", "pipeline.ended"}
"""Where nobody knows that it is a call, or nobody is left to record it."""


@both
@pytest.mark.parametrize("call", [call for call in CALLS if str(call) in MISTAKEN_CALLS], ids=str)
@pytest.mark.parametrize("place", PLACES)
def test_our_own_mistakes_change_nothing(place, call, asynchronous, server, telemetry, monkeypatch):
    """
    Whatever of ours raises, the application sees no difference, and the call is still recorded where it can be.
    """
    otel_llm.uninstrument()
    bare = seen(call, server, asynchronous=asynchronous)
    otel_llm.instrument()
    reports = []
    monkeypatch.setattr(diagnostics, "warn_once", lambda _, message: reports.append(message))
    monkeypatch.setattr(*PLACES[place], mistaken)
    # A span that cannot be detached stays current: not in the tests that follow.
    captured = contextvars.copy_context().run(seen, call, server, asynchronous=asynchronous)
    recorded = 0 if place in UNRECORDED else 1
    assert (captured, len(telemetry.records(recorded))) == (bare, recorded)


def test_context_is_clean_after_our_own_mistake(server, telemetry, monkeypatch):
    """
    After a mistake of ours in mid-call the next call is one of its own.
    """
    with client_of("openai", server, asynchronous=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr(diagnostics, "warn_once", lambda *_: None)
            patch.setattr(Pipeline, "attach", mistaken)
            ask_now(client)
        ask_now(client)
    attempts = [record["otel_llm.attempts"] for record in telemetry.records(2)]
    assert (attempts, trace.get_current_span().get_span_context().is_valid) == ([1, 1], False)
