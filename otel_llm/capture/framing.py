"""
Streams cut into frames, whatever way the bytes arrive.

Each framing is fed chunks as they come and gives the frames that are complete, as (event name, payload) pairs; `flush`
gives what an unterminated last frame holds.
"""

import re
from collections.abc import Callable
from typing import Protocol

Frame = tuple[bytes, bytes]
"""The frame's event name (empty when unnamed) and its payload."""


class Framing(Protocol):
    """
    How a content type is cut into frames.
    """

    def sole(self, chunk: bytes) -> Frame | None:
        """
        Give the frame that a chunk is, as nearly all are just one, at the least cost; else None.
        """

    def feed(self, chunk: bytes) -> list[Frame]:
        """
        Take the next bytes and give the frames they complete.
        """

    def flush(self) -> list[Frame]:
        """
        Give what is left when the stream ends.
        """

    def blocks(self, chunk: bytes) -> list[tuple[bytes, list[Frame]]]:
        """
        Take the next bytes and give the complete blocks as they are on the wire, each with its frames.
        """

    def rest(self) -> bytes:
        """
        Give the bytes that are not a complete block yet, and forget them.
        """


class ServerSentEvents:
    """
    Server-sent events (WHATWG HTML, section 9.2): blocks of `field: value` lines, each ended by an empty line.
    """

    __slots__ = ("_pending", "_searched")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._searched = 0

    def sole(self, chunk: bytes) -> Frame | None:
        if self._pending or b"\r" in chunk or not chunk.endswith(b"\n\n"):
            return None
        last = len(chunk) - 2
        if chunk.startswith(b"data: "):
            return (b"", chunk[6:last]) if chunk.find(b"\n") == last else None
        if not chunk.startswith(b"event: "):
            return None
        named = chunk.find(b"\n")
        if chunk.startswith(b"data: ", named + 1) and chunk.find(b"\n", named + 7) == last:
            return chunk[7:named], chunk[named + 7 : last]
        return None

    def feed(self, chunk: bytes) -> list[Frame]:
        if not self._pending and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            return _frames(chunk)
        self._pending += chunk
        return self._complete()

    def flush(self) -> list[Frame]:
        rest = bytes(self._pending)
        self._pending.clear()
        self._searched = 0
        return _frames(_normalised(rest))

    def blocks(self, chunk: bytes) -> list[tuple[bytes, list[Frame]]]:
        self._pending += chunk
        found = []
        while match := _BLOCK_END.search(self._pending):
            block = bytes(self._pending[: match.end()])
            del self._pending[: match.end()]
            found.append((block, _frames(_normalised(block))))
        return found

    def rest(self) -> bytes:
        rest = bytes(self._pending)
        self._pending.clear()
        return rest

    def _complete(self) -> list[Frame]:
        pending = self._pending
        # What was searched before is not searched again, but for the bytes that a line end may straddle.
        end = max(_after(pending, separator, self._searched) for separator in (b"\n\n", b"\n\r\n", b"\r\r"))
        if not end:
            self._searched = max(0, len(pending) - 3)
            return []
        block = bytes(pending[:end])
        del pending[:end]
        self._searched = 0
        return _frames(_normalised(block))


_BLOCK_END = re.compile(rb"\n\r?\n|\r\r")

FRAMINGS: dict[str, Callable[[], Framing]] = {"text/event-stream": ServerSentEvents}
"""Content type to framing; a content type that is not here is a whole body."""


def _after(pending: bytearray, separator: bytes, start: int) -> int:
    found = pending.rfind(separator, start)
    return found + len(separator) if found >= 0 else 0


def _normalised(block: bytes) -> bytes:
    if b"\r" not in block:
        return block
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _frames(block: bytes) -> list[Frame]:
    return [frame for part in block.split(b"\n\n") if part and (frame := _frame(part)) is not None]


def _frame(part: bytes) -> Frame | None:
    if part.startswith(b"data: ") and b"\n" not in part:
        return b"", part[6:]
    if part.startswith(b"event: "):
        name, _, rest = part[7:].partition(b"\n")
        if rest.startswith(b"data: ") and b"\n" not in rest:
            return name, rest[6:]
    return _frame_of_lines(part)


def _frame_of_lines(part: bytes) -> Frame | None:
    event = b""
    data: list[bytes] = []
    for line in part.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            event = value.removeprefix(b" ")
    return (event, b"\n".join(data)) if data else None
