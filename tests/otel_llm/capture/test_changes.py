import asyncio
import json

import openai
import pytest

import otel_llm

HOST = "127.0.0.1"
QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def stream(server, **options):
    with openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
        return [chunk.model_dump() for chunk in client.chat.completions.create(stream=True, **QUESTION, **options)]


async def stream_async(server):
    async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="sk-local") as client:
        chunks = await client.chat.completions.create(stream=True, **QUESTION)
        return [chunk.model_dump() async for chunk in chunks]


def plain(chunks):
    return [{name: value for name, value in chunk.items() if name not in {"id", "created"}} for chunk in chunks]


class TestIncludeUsage:
    def test_user_sees_no_difference(self, server, telemetry):
        """
        The usage that we asked for is recorded as injected, and the user's chunks are those without it.
        """
        before = stream(server)
        otel_llm.configure(include_usage=[HOST])
        after = stream(server)
        record = telemetry.records(2)[-1]

        assert plain(before) == plain(after)
        assert record["otel_llm.usage_source"] == "injected"
        assert record["gen_ai.usage.output_tokens"] > 0
        assert json.loads(server.requests[-1].body)["stream_options"] == {"include_usage": True}

    def test_async(self, server, telemetry):
        """
        The same holds for the async client.
        """
        before = asyncio.run(stream_async(server))
        otel_llm.configure(include_usage=[HOST])
        after = asyncio.run(stream_async(server))

        assert plain(before) == plain(after)
        assert telemetry.records(2)[-1]["otel_llm.usage_source"] == "injected"

    @pytest.mark.parametrize("size", [1, 7, 50])
    @pytest.mark.usefixtures("telemetry")
    def test_any_pieces(self, server, size):
        """
        The extra chunk stays hidden however the bytes are cut.
        """
        otel_llm.configure(include_usage=[HOST])
        server.default = server.default.__class__(chunk_size=size)

        assert all(chunk["choices"] for chunk in stream(server))

    def test_caller_asked(self, server, telemetry):
        """
        A caller who asked for the usage himself gets it.
        """
        otel_llm.configure(include_usage=[HOST])
        chunks = stream(server, stream_options={"include_usage": True})

        assert chunks[-1]["usage"]["completion_tokens"] > 0
        assert telemetry.record()["otel_llm.usage_source"] == "provider"

    @pytest.mark.usefixtures("telemetry")
    def test_other_hosts(self, server):
        """
        Requests to hosts that are not listed go out as they are.
        """
        otel_llm.configure(include_usage=["api.openai.com"])
        stream(server)

        assert "stream_options" not in json.loads(server.requests[-1].body)


class TestPropagateTrace:
    def test_listed_host(self, server, telemetry):
        """
        A listed host gets the trace context of the call's span.
        """
        otel_llm.configure(propagate_trace=[HOST])
        stream(server)
        (span,) = telemetry.spans("otel_llm")

        sent = server.requests[-1].headers["traceparent"]
        assert sent.split("-")[1:3] == [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]

    @pytest.mark.usefixtures("telemetry")
    def test_default(self, server):
        """
        Nobody else gets a header from us.
        """
        stream(server)

        assert "traceparent" not in server.requests[-1].headers
