"""
The promise: an application's results, exceptions and bytes are those it would have had without us.

Each call of the table runs bare, then captured, in the same process against the same server, and all that the
application and the provider can see is compared.
"""

import threading

import anthropic
import groq
import httpx
import httpx2
import openai
import pytest
from either import drive, opened, value
from outcomes import seen
from sdk_calls import CALLS, CHAT, CLAUDE, client_of

import otel_llm
from otel_llm.testing import Reply

both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@both
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_application_sees_no_difference(call, asynchronous, server, telemetry):
    """
    Result, chunks, exception with its causes, and every byte that the provider receives are the same with us.
    """
    otel_llm.uninstrument()
    bare = seen(call, server, asynchronous=asynchronous)
    otel_llm.instrument()
    captured = seen(call, server, asynchronous=asynchronous)
    assert (captured, len(telemetry.records(call.records))) == (bare, call.records)


@both
@pytest.mark.parametrize("sdk", ["openai", "anthropic", "groq"])
def test_a_chunk_is_seen_before_the_next_is_sent(sdk, asynchronous, server, telemetry):
    """
    The application has a stream's first items while the provider holds back the rest.
    """
    release = threading.Event()
    server.default = Reply(hold=release, hold_at=3)

    async def run():
        async with opened(client_of(sdk, server, asynchronous=asynchronous).with_options(timeout=5)) as client:
            method, asked = (client.messages, CLAUDE) if sdk == "anthropic" else (client.chat.completions, CHAT)
            stream = await value(method.create(**asked, stream=True))
            iterator = stream.__aiter__() if asynchronous else iter(stream)
            early = [await value(iterator.__anext__() if asynchronous else next(iterator)) for _ in range(2)]
            unfinished = not server.requests[-1].finished
            release.set()
            rest = [item async for item in iterator] if asynchronous else list(iterator)
            return len(early), unfinished, len(rest) > 3

    seen_early = drive(run(), asynchronous=asynchronous)
    assert (seen_early, telemetry.record()["otel_llm.status"]) == ((2, True, True), "success")


@pytest.mark.usefixtures("telemetry")
def test_libraries_are_themselves_again_afterwards():
    """
    What is uninstrumented is what the libraries shipped.
    """
    otel_llm.uninstrument()
    clients = [kind for module in (httpx, httpx2) for kind in (module.Client, module.AsyncClient)]
    sdks = [
        kind
        for sdk in (openai, anthropic, groq)
        for kind in (sdk._base_client.SyncAPIClient, sdk._base_client.AsyncAPIClient)
    ]
    methods = [client.send for client in clients] + [sdk.request for sdk in sdks]
    assert not any(hasattr(method, "__wrapped__") for method in methods)
