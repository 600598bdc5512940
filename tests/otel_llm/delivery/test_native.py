import asyncio
import select

import pytest

from otel_llm.delivery.native import _PollSelector


@pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll")
def test_a_loop_on_bare_poll():
    """The selector that stands in under gevent carries an event loop: timers, connections both ways, other threads."""

    async def echo(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def talk() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 50_000 + b"\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answer

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_PollSelector(select.poll))) as runner:
        assert runner.run(talk()) == b"x" * 50_000 + b"\n"
