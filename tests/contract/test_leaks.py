"""
Nothing stays behind: after thousands of calls, memory, threads and our own objects are what they were.
"""

import asyncio
import gc
import threading
import time
import tracemalloc

import openai
import pytest

import otel_llm
from otel_llm.capture.exchange import Exchange
from otel_llm.capture.observer import Sending
from otel_llm.capture.operation import Operation
from otel_llm.testing import Reply

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
OURS = (Sending, Operation, Exchange)


def plain(client):
    client.chat.completions.create(**CHAT)


def stream(client):
    for _ in client.chat.completions.create(**CHAT, stream=True):
        pass


def abandoned(client):
    with client.chat.completions.create(**CHAT, stream=True) as opened:
        next(iter(opened))


def dropped(client):
    next(iter(client.chat.completions.create(**CHAT, stream=True)))


def failing(client):
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**CHAT, extra_headers={"x-fail": "yes"}, user="fail")


WAYS = (plain, stream, abandoned, dropped, failing)


@pytest.fixture
def client(server):
    server.queue("", *[Reply(status=401)] * 3000, containing=b'"user":"fail"')
    with openai.OpenAI(base_url=server.openai_url, api_key="k", max_retries=0) as client:
        yield client


def alive():
    """
    Give how many objects of ours still stand for a call, once the thread that ends dropped streams has let go.
    """
    for _ in range(100):
        gc.collect()
        left = sum(isinstance(thing, OURS) for thing in gc.get_objects())
        if not left:
            return 0
        time.sleep(0.01)
    return left


def threads():
    """
    Give how many threads run, without the server's, one for each connection.
    """
    return sum("process_request_thread" not in thread.name for thread in threading.enumerate())


def settled(telemetry, server):
    """
    Forget on purpose what tests keep, exported telemetry and received requests, when the last call is recorded.
    """
    alive()
    otel_llm.flush()
    telemetry.clear()
    server.requests.clear()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_call_leaves_no_object_behind(way, client, server, telemetry):
    """
    When the calls are over, no operation, exchange or sending is left, and no thread.
    """
    way(client)
    before = threads()
    for _ in range(20):
        way(client)
    gc.collect()
    telemetry.records(21)
    settled(telemetry, server)
    assert (alive(), threads()) == (0, before)


def test_async_calls_leave_no_object_behind(server, telemetry):
    """
    Calls that ended, were abandoned, or were cancelled in an event loop leave nothing when it is closed.
    """

    async def run():
        async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="k") as client:
            create = client.chat.completions.create
            await asyncio.gather(*(create(**CHAT) for _ in range(10)))
            async for _ in await create(**CHAT, stream=True):
                pass
            stream = await create(**CHAT, stream=True)
            async for _ in stream:
                break
            await stream.close()
            server.default = Reply(first_byte_delay=0.5)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(create(**CHAT), 0.05)

    asyncio.run(run())
    gc.collect()
    telemetry.records(13)
    settled(telemetry, server)
    assert alive() == 0


@pytest.mark.slow
# The collector now and then finds a dropped stream's socket before the stream that would close it, without us too.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_memory_is_flat_over_ten_thousand_calls(client, server, telemetry):
    """
    Ten thousand calls, whole, streamed, abandoned, dropped and failed, take no more memory than the first thousand.
    """

    def calls(count):
        for number in range(count):
            WAYS[number % len(WAYS)](client)
            if number % 500 == 499:
                settled(telemetry, server)

    tracemalloc.start()
    try:
        calls(1_000)
        before, running = tracemalloc.get_traced_memory()[0], threads()
        calls(10_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 500_000
    assert (alive(), threads()) == (0, running)


def test_switching_on_and_off_leaves_no_thread_behind(client, telemetry):  # noqa: ARG001 - it is switched off here
    """
    However often otel-llm is switched on, used and off, the process has no more threads.
    """
    stream(client)
    before = threads()
    for _ in range(5):
        otel_llm.shutdown()
        otel_llm.configure()
        stream(client)
    assert threads() == before
