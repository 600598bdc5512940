"""
The dead letters of one sink as a journal that its courier can read once more.

A letter leaves the file when its record is settled again: delivered, or written to the end of the same file as dead
once more. Lines that cannot be read stay.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from otel_llm.delivery import files
from otel_llm.delivery.dead_letters import DeadLetter
from otel_llm.delivery.frames import Frame
from otel_llm.delivery.gaps import Gap
from otel_llm.delivery.store import Store
from otel_llm.errors import JournalError
from otel_llm.telemetry.event import Event

_AT_ONCE = 100


class _Line(NamedTuple):
    start: int
    end: int


class Letters:
    """
    A `Source` over the file; only one process at a time may have it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        """Lines that are no letters."""
        self.store: Store | None = None
        self._lock = _lock(path)
        self._lines = list(self._index())
        self.next = len(self._lines)
        self._settled = 0
        self._removed = 0
        self._removed_bytes = 0

    def recent(self, sequence: int) -> list[Frame]:  # noqa: ARG002 - it is long ago
        return []

    def beyond(self, sequence: int) -> list[Frame]:
        lines = self._lines[sequence : sequence + _AT_ONCE]
        with _opened(self.path) as file:
            found = [os.pread(file.fileno(), end - start, start - self._removed_bytes) for start, end in lines]
        events = [event_of(read(line)) for line in found]
        return [Frame(number, event.encode(), 0, event) for number, event in enumerate(events, sequence)]

    def gap(self, sequence: int) -> Gap:
        raise IndexError(f"letter {sequence} of {self.path}")  # they have no gaps

    def commit(self, sink: str, sequence: int) -> None:  # noqa: ARG002 - there is one
        self._settled = sequence
        if self._size(self._removed, sequence) >= self._size(sequence, self.next):
            self._trim()

    def close(self) -> None:
        """
        Take out of the file what is settled, and let others have it.
        """
        self._trim()
        os.close(self._lock)

    def _index(self) -> Iterator[_Line]:
        with _opened(self.path) as file:
            start = 0
            for line in file:
                end = start + len(line)
                if line.strip() and line.endswith(b"\n"):
                    if _is_letter(line):
                        yield _Line(start, end)
                    else:
                        self.unreadable += 1
                start = end

    def _size(self, first: int, end: int) -> int:
        return self._lines[end - 1].end - self._lines[first].start if end > first else 0

    def _trim(self) -> None:
        if self._settled == self._removed:
            return
        descriptor = files.open_to_append(self.path)
        try:
            with _opened(self.path) as file:
                data = file.read()
            gone = self._lines[self._removed : self._settled]
            files.replace(self.path, _without(data, [(line.start, line.end) for line in gone], self._removed_bytes))
        finally:
            os.close(descriptor)
        self._removed = self._settled
        self._removed_bytes += sum(line.end - line.start for line in gone)


def letters(path: Path) -> Iterator[DeadLetter]:
    """
    Give the letters of a file, without the lines that cannot be read.
    """
    with _opened(path) as file:
        for line in file:
            if _is_letter(line):
                yield read(line)


def event_of(letter: DeadLetter) -> Event:
    """
    Give the record that a letter holds; raises `msgspec.ValidationError` when it is none.
    """
    return msgspec.convert([letter.event.get(name) for name in Event.__struct_fields__], Event)


def _is_letter(line: bytes) -> bool:
    try:
        event_of(read(line))
    except msgspec.DecodeError:
        return False
    return True


def _without(data: bytes, gone: list[tuple[int, int]], shift: int) -> bytes:
    kept, at = [], 0
    for start, end in gone:
        kept.append(data[at : start - shift])
        at = end - shift
    return b"".join([*kept, data[at:]])


def _lock(path: Path) -> int:
    descriptor = files.open_private(path.with_name(f".{path.stem}.replay"), os.O_WRONLY | os.O_CREAT)
    if files.try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    raise JournalError(f"another process replays {path}")


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(files.open_private(path, os.O_RDONLY), "rb")


read = msgspec.json.Decoder(DeadLetter).decode
