"""
What is measured: each scenario makes a client and gives a function that makes so many calls.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import traffic

Run = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    One kind of call.
    """

    make: Callable[[Any], Run]
    """Given the SDKs' client classes as the peer wants them used."""
    bare: Callable[[], Run] | None = None
    """The same without instrumentation in an instrumented process, where that can be had."""


def chat(clients: Any) -> Run:
    """
    Make an openai chat call whose answer comes whole.
    """
    client = _openai(clients.OpenAI, httpx2.Client(transport=traffic.answering(traffic.completion())))
    return _repeated(lambda: client.chat.completions.create(**traffic.CHAT))


def async_chat(clients: Any) -> Run:
    """
    Make the same call with the async client.
    """
    transport = traffic.answering(traffic.completion())
    client = _openai(clients.AsyncOpenAI, httpx2.AsyncClient(transport=transport))
    loop = asyncio.new_event_loop()

    async def calls(count: int) -> None:
        for _ in range(count):
            await client.chat.completions.create(**traffic.CHAT)

    return lambda count: loop.run_until_complete(calls(count))


def stream(chunks: int) -> Callable[[Any], Run]:
    """
    Make an openai chat call that is streamed.
    """

    def make(clients: Any) -> Run:
        transport = traffic.streaming(traffic.completion_chunks(chunks))
        client = _openai(clients.OpenAI, httpx2.Client(transport=transport))
        return _repeated(lambda: _read(client.chat.completions.create(**traffic.STREAM)))

    return make


def message(clients: Any) -> Run:
    """
    Make an anthropic call whose answer comes whole.
    """
    client = _anthropic(clients.Anthropic, traffic.answering(traffic.message()))
    return _repeated(lambda: client.messages.create(**traffic.MESSAGES))


def message_stream(chunks: int) -> Callable[[Any], Run]:
    """
    Make an anthropic call that is streamed.
    """

    def make(clients: Any) -> Run:
        client = _anthropic(clients.Anthropic, traffic.streaming(traffic.message_events(chunks)))
        return _repeated(lambda: _read(client.messages.create(stream=True, **traffic.MESSAGES)))

    return make


def other(_clients: Any) -> Run:
    """
    Make a request that is no LLM call, with the client that the SDKs use.
    """
    client, request = _plain_request()
    return _repeated(lambda: client.send(request))


def other_bare() -> Run:
    """
    Make that request past what an instrumentation put around `send`.
    """
    client, request = _plain_request()
    send = inspect.unwrap(httpx2.Client.send)
    return _repeated(lambda: send(client, request))


SCENARIOS = {
    "chat": Scenario(chat),
    "async chat": Scenario(async_chat),
    "stream of 50": Scenario(stream(50)),
    "stream of 500": Scenario(stream(500)),
    "anthropic": Scenario(message),
    "anthropic stream of 50": Scenario(message_stream(50)),
    "anthropic stream of 500": Scenario(message_stream(500)),
    "not an LLM call": Scenario(other, other_bare),
}


def _openai(kind: Any, http_client: Any) -> Any:
    return kind(http_client=http_client, api_key="sk-benchmark", max_retries=0)


def _anthropic(kind: Any, transport: httpx2.MockTransport) -> Any:
    return kind(http_client=httpx2.Client(transport=transport), api_key="sk-benchmark", max_retries=0)


@functools.cache
def _plain_request() -> tuple[httpx2.Client, httpx2.Request]:
    client = httpx2.Client(transport=traffic.answering(b'{"rows":[]}'))
    return client, client.build_request("GET", "https://inventory.example.com/v2/items/4711")


def _read(chunks: Any) -> None:
    for _ in chunks:
        pass


def _repeated(call: Callable[[], object]) -> Run:
    def run(count: int) -> None:
        for _ in range(count):
            call()

    return run
