"""
A TCP proxy on this machine that breaks as networks and servers do.

`refuse` (nobody listens) · `black_hole` (packets vanish, connections stay) · `reset` (accepts, then resets) ·
`lose_answer` (the server gets all, its answer is lost by a reset) · `cut_answer` (reset in the middle of the answer) ·
`trickle` (the answer comes byte by byte) · `pass`.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Literal, Self

Behaviour = Literal["pass", "refuse", "black_hole", "reset", "lose_answer", "cut_answer", "trickle"]

BYTES_PER_SECOND = 1
CUT_AFTER = 20
_LINGER_NOT = struct.pack("ii", 1, 0)


class TcpProxy:
    """
    Listens on a port of its own as long as its `with` block runs, and connects to `target`.
    """

    def __init__(self, target: int) -> None:
        self.connections = 0
        self._target = target
        self._behaviour: Behaviour = "pass"
        self._socket = _bound(0)
        self.port = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    def behave(self, behaviour: Behaviour) -> None:
        """
        Behave so from now on; open connections are reset, but a black hole swallows them until it is left.
        """
        self._run(self._behave(behaviour))

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        for writer in tuple(self._writers):
            _reset(writer)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _behave(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._changed.set()
        self._changed = asyncio.Event()
        if behaviour != "black_hole":
            for writer in tuple(self._writers):
                _reset(writer)
        if behaviour == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
            # Bound but not listening: who connects is refused, and nobody else gets the port.
            self._socket = _bound(self.port)
        elif behaviour != "refuse" and self._server is None:
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            if self._behaviour != "reset":
                await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            _reset(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._behaviour == "black_hole":
            await self._changed.wait()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        pumps = {
            asyncio.create_task(self._pump(reader, back, answering=False)),
            asyncio.create_task(self._pump(there, writer, answering=True)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            _reset(back)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answering: bool) -> None:
        while data := await reader.read(65_536):
            if self._behaviour == "black_hole":
                await self._changed.wait()
                return
            if answering and self._behaviour != "pass":
                await self._spoil(data, writer)
                return
            writer.write(data)
            await writer.drain()

    async def _spoil(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self._behaviour == "cut_answer":
            writer.write(data[:CUT_AFTER])
            await writer.drain()
        if self._behaviour == "trickle":
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1 / BYTES_PER_SECOND)


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
