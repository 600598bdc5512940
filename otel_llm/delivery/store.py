"""
What one journal keeps on disk: segments of frames, and one cursor per sink.

A cursor holds the sequence number of the first record its sink still waits for. Segments that lie before every cursor
are removed; those that make room for newer records are *evicted*, and the readers count what they miss.
"""

import contextlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path

from otel_llm.delivery import files, frames
from otel_llm.delivery.cursor import SUFFIX, CursorFile
from otel_llm.delivery.gaps import Gaps
from otel_llm.errors import JournalError

logger = logging.getLogger(__name__)

_SEGMENT = ".segment"


@dataclass(slots=True, eq=False)
class Segment:
    """
    One file of frames; `size` tells how far it may be read.
    """

    first: int
    path: Path
    size: int


class Store:
    """
    The segments and cursors in one journal folder.
    """

    def __init__(self, folder: Path, gaps: Gaps | None = None) -> None:
        self.folder = folder
        self.gaps = gaps or Gaps()
        self.segments: list[Segment] = []
        self.cursors: dict[str, int] = {}
        self.next = 0
        """The sequence number that the next frame gets."""
        self.torn = 0
        """How many frames at the end are not whole."""
        self._cursor_files: dict[str, CursorFile] = {}
        self._lagging: set[str] = set()
        """Sinks that have come farther than their cursor files tell."""
        self._warned = False
        self._ended = False

    @classmethod
    def load(cls, folder: Path, sinks: Iterable[str]) -> "Store":
        """
        Read what a dead process left; `sinks` are owed everything where their cursor is missing.
        """
        store = cls(folder)
        paths = [path for path in folder.glob(f"*{_SEGMENT}") if path.stem.isdecimal()]
        store.segments = sorted(map(_segment, paths), key=lambda segment: segment.first)
        found = [path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}")]
        store.cursors = dict.fromkeys(sinks, 0) | {sink: store._cursor_file(sink).read(folder) for sink in found}
        store._find_end()
        store._ended = True
        return store

    @property
    def size(self) -> int:
        """The bytes that the segments take on disk."""
        return sum(segment.size for segment in self.segments)

    @property
    def delivered(self) -> bool:
        """Whether every sink has everything."""
        return all(cursor >= self.next for cursor in self.cursors.values())

    def add(self) -> tuple[int, Segment]:
        """
        Begin a new segment; gives its open file, too.
        """
        path = self.folder / f"{self.next:020d}{_SEGMENT}"
        descriptor = files.open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.ftruncate(descriptor, 0)
            files.write_whole(descriptor, frames.START)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        # A segment that begins with the same record holds none: its first write failed.
        self.segments = [segment for segment in self.segments if segment.first < self.next]
        segment = Segment(self.next, path, len(frames.START))
        self.segments.append(segment)
        return descriptor, segment

    def holding(self, sequence: int) -> Segment | None:
        """
        Give the segment in which a record lies or would lie; the oldest when it is gone.
        """
        found = None
        for segment in tuple(self.segments):
            if found is None or segment.first <= sequence:
                found = segment
        return found

    def after(self, segment: Segment) -> Segment | None:
        """
        Give the segment that follows.
        """
        return next((other for other in tuple(self.segments) if other.first > segment.first), None)

    def set_cursor(self, sink: str, sequence: int) -> None:
        """
        Note how far a sink has come, and remove what nobody waits for any more.
        """
        self.cursors[sink] = sequence
        self._lagging.add(sink)
        for name in tuple(self._lagging):
            self._cursor_file(name).write(self.folder, self.cursors[name])
            self._lagging.discard(name)
        self._remove_passed()

    def advance(self, sink: str, sequence: int) -> None:
        """
        Do what `set_cursor` does, as far as the disk lets us.
        """
        try:
            self.set_cursor(sink, sequence)
        except OSError as error:
            if not self._warned:
                logger.warning("cursors cannot be written, after a crash records may arrive twice: %s", error)
            self._warned = True
        else:
            self._warned = False

    def evict(self, reason: str, *, older_than: float = float("inf")) -> bool:
        """
        Give up the oldest segment but the one being written; False when there is none (last written before that time).
        """
        segments = tuple(self.segments)
        if len(segments) <= (0 if self._ended else 1) or _written(segments[0].path) > older_than:
            return False
        self.gaps.note(segments[0].first, segments[1].first if segments[1:] else self.next, reason)
        self._remove(segments[0])
        return True

    def clear(self) -> None:
        """
        Remove what every sink has, also the last segment; nobody may be writing.
        """
        if self.delivered and not self._lagging:
            for segment in tuple(self.segments):
                self._remove(segment)

    def delete(self) -> None:
        """
        Remove the folder and all in it.
        """
        files.remove_folder(self.folder)

    def _cursor_file(self, sink: str) -> CursorFile:
        return self._cursor_files.get(sink) or self._cursor_files.setdefault(sink, CursorFile(sink))

    def _remove_passed(self) -> None:
        oldest = min(self.cursors.values())
        for segment, following in pairwise(tuple(self.segments)):
            if following.first <= oldest:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        with contextlib.suppress(ValueError):  # another thread may be as far
            self.segments.remove(segment)
        segment.path.unlink(missing_ok=True)

    def _find_end(self) -> None:
        if not self.segments:
            return
        last = self.segments[-1]
        data = last.path.read_bytes()
        found = frames.scan(data, last=True).frames
        self.next = found[-1].sequence + 1 if found else last.first
        self.torn = frames.count_damaged(data[found[-1].end if found else len(frames.START) :])


def _segment(path: Path) -> Segment:
    with contextlib.closing(os.fdopen(files.open_private(path, os.O_RDONLY), "rb")) as file:
        version = frames.version(file.read(len(frames.START)))
    if version not in {None, frames.VERSION}:
        raise JournalError(f"{path} is of journal version {version}, this otel-llm reads {frames.VERSION}")
    return Segment(int(path.stem), path, path.stat().st_size)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def last_written(folder: Path) -> float:
    """
    Give the time of the last change in a journal folder, in Unix seconds.

    It is infinity where the folder's owner has just renamed or removed it.
    """
    try:
        return max((path.stat().st_mtime for path in folder.glob(f"*{_SEGMENT}")), default=folder.stat().st_mtime)
    except FileNotFoundError:
        return inf
