"""
HTTP/1.1 as the provider server speaks it: requests kept to the byte, answers broken where a test wants them broken.
"""

import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import responses as phrases
from importlib import import_module
from io import BufferedIOBase

from otel_llm.testing.answer import ID, Answer
from otel_llm.testing.provider import headers
from otel_llm.testing.reply import Reply

_HOLD_STEP = 0.02
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Received:
    """
    One request, as it came over the wire, and what became of its answer.
    """

    method: str
    target: str
    """Path and query."""
    head: bytes
    """Request line and headers, to the last byte."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    """As sent; a chunked body put together."""
    status: int | None = None
    """What was answered."""
    finished: bool = False
    """The whole answer was handed to the socket."""
    closed_early: bool = False
    """The client hung up before the answer was finished."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def wire(self) -> bytes:
        """Everything that arrived."""
        return self.head + self.body


def receive(stream: BufferedIOBase) -> Received | None:
    """
    Read one request; None when the client has hung up.
    """
    lines: list[bytes] = []
    while (line := stream.readline()) != b"\r\n":
        if not line:
            return None
        lines.append(line)
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    fields = dict(map(_field, lines[1:]))
    return Received(method, target, b"".join(lines) + b"\r\n", fields, _body(stream, fields))


def _field(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip()


def _body(stream: BufferedIOBase, fields: Mapping[str, str]) -> bytes:
    if fields.get("transfer-encoding") != "chunked":
        return stream.read(int(fields.get("content-length", 0)))
    parts = []
    while size := int(stream.readline(), 16):
        parts.append(stream.read(size))
        stream.readline()
    stream.readline()
    return b"".join(parts)


class Writer:
    """
    Sends one answer the way its reply tells; True when the connection may be used again.
    """

    def __init__(self, connection: socket.socket, reply: Reply) -> None:
        self._connection = connection
        self._reply = reply

    def send(self, answer: Answer, received: Received, number: bytes) -> bool:
        """
        Send everything; raises `ConnectionError` when the client hangs up before.
        """
        pieces = _pieces(answer, self._reply, number)
        length = None if answer.streamed else sum(map(len, pieces))
        head = _head(answer, self._reply, received.path, length).replace(ID.encode(), number)
        if answer.streamed:
            pieces = [*map(_chunk, pieces), b"0\r\n\r\n"]
        units = [head + pieces[0], *pieces[1:]]
        return self._slowly(units) if self._step_by_step else self._at_once(units)

    @property
    def _step_by_step(self) -> bool:
        reply = self._reply
        slow = reply.first_byte_delay or reply.chunk_delay or reply.chunk_size
        return bool(slow) or reply.hold is not None or reply.cut_after is not None

    def _at_once(self, units: list[bytes]) -> bool:
        self._connection.sendall(b"".join(units))
        return True

    def _slowly(self, units: list[bytes]) -> bool:
        reply = self._reply
        self._pause(reply.first_byte_delay)
        for sent, unit in enumerate(units):
            if sent == reply.cut_after:
                return self._cut()
            if sent == reply.hold_at:
                self._wait_for_release()
            if sent:
                self._pause(reply.chunk_delay)
            self._connection.sendall(unit)
        return True

    def _pause(self, seconds: float) -> None:
        if seconds:
            time.sleep(seconds)
        self._check_client()

    def _wait_for_release(self) -> None:
        hold = self._reply.hold
        while hold is not None and not hold.wait(_HOLD_STEP):
            self._check_client()

    def _check_client(self) -> None:
        # A write to a client that hung up succeeds once, so the socket is asked.
        with suppress(BlockingIOError):
            if not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionAbortedError("the client hung up")

    def _cut(self) -> bool:
        if self._reply.reset:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return False


def _pieces(answer: Answer, reply: Reply, number: bytes) -> list[bytes]:
    pieces = [piece.replace(ID.encode(), number) for piece in answer.pieces]
    if reply.edit is not None and answer.streamed:
        pieces = reply.edit(pieces)
    if reply.encoding is not None:
        pieces = list(_encoded(pieces, reply.encoding))
    return pieces if reply.chunk_size is None else _cut_up(b"".join(pieces), reply.chunk_size)


def _cut_up(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)] or [b""]


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _head(answer: Answer, reply: Reply, path: str, length: int | None) -> bytes:
    fields = {
        "content-type": "text/event-stream; charset=utf-8" if answer.streamed else "application/json",
        **headers(path),
        **({"content-encoding": reply.encoding} if reply.encoding else {}),
        **({"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}),
        **reply.headers,
    }
    lines = [
        f"HTTP/1.1 {answer.status} {phrases.get(answer.status, 'Unknown')}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _encoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Compress so that each piece can be read when it arrives, as servers do with event streams."""
    compress, end = _ENCODERS[encoding]()
    yield from map(compress, pieces)
    yield end()


Encoder = tuple[Callable[[bytes], bytes], Callable[[], bytes]]


def _zlib(window: int) -> Encoder:
    encoder = zlib.compressobj(wbits=window)
    return lambda piece: encoder.compress(piece) + encoder.flush(zlib.Z_SYNC_FLUSH), encoder.flush


def _brotli() -> Encoder:
    encoder = import_module("brotli").Compressor(quality=4)
    return lambda piece: encoder.process(piece) + encoder.flush(), encoder.finish


def _zstd() -> Encoder:
    zstandard = import_module("zstandard")
    encoder = zstandard.ZstdCompressor().compressobj()
    block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return lambda piece: encoder.compress(piece) + encoder.flush(block), encoder.flush


_ENCODERS: Mapping[str, Callable[[], Encoder]] = {
    "gzip": lambda: _zlib(31),
    "deflate": lambda: _zlib(15),
    "br": _brotli,
    "zstd": _zstd,
}
