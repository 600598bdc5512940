"""
How one sink reads one journal: frame by frame from its cursor on, with an account of what is settled.

Records are handed out in spans; the cursor moves to the end of the last span before which all are settled, so that
several batches on their way at once still lose nothing. Lives on the loop thread.
"""

import contextlib
import errno
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Protocol

from otel_llm.delivery import files
from otel_llm.delivery.frames import Frame, scan
from otel_llm.delivery.gaps import Gap
from otel_llm.delivery.store import Segment, Store

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024


class Source(Protocol):
    """
    A journal as its readers see it.
    """

    next: int

    @property
    def store(self) -> Store | None: ...

    def recent(self, sequence: int) -> list[Frame]:
        """
        Give records of the store from `sequence` on without reading them; none when that one is not at hand.
        """

    def beyond(self, sequence: int) -> list[Frame]:
        """
        Give the records from `sequence` on that are in memory only.
        """

    def gap(self, sequence: int) -> Gap:
        """
        Say why a record is not there any more, and which ones with it.
        """

    def commit(self, sink: str, sequence: int) -> None:
        """
        Note that a sink needs nothing before `sequence` any more.
        """


class Span:
    """
    Records of one journal that travel together: from `first` up to, not including, `end`.
    """

    __slots__ = ("done", "end", "first")

    def __init__(self, first: int) -> None:
        self.first = self.end = first
        self.done = False


class Reader:
    """
    One sink's place in one journal; `lost` is told the reason and the number of records that cannot be read.
    """

    def __init__(self, source: Source, sink: str, start: int, lost: Callable[[str, int], None]) -> None:
        self.source = source
        self.sink = sink
        self.next = start
        """The first record that was not taken yet."""
        self.settled = start
        """The first record that is not settled yet."""
        self._lost = lost
        self._spans: deque[Span] = deque()
        self._ahead: deque[Frame] = deque()
        self._segment: Segment | None = None
        self._descriptor = -1
        self._offset = 0

    @property
    def remaining(self) -> int:
        """How many records were not taken yet."""
        return self.source.next - self.next

    def begin(self) -> Span:
        """
        Start a span at the next record.
        """
        span = Span(self.next)
        self._spans.append(span)
        return span

    def peek(self) -> Frame | None:
        """
        Give the next record without taking it; None when there is none.
        """
        while self._ahead and self._ahead[0].sequence < self.next:
            self._ahead.popleft()
        if not self._ahead:
            self._fill()
        if not self._ahead:
            return None
        frame = self._ahead[0]
        self._skip_to(frame.sequence)
        return frame

    def take(self, span: Span) -> None:
        """
        Take the record that `peek` gave.
        """
        self.next = span.end = self._ahead.popleft().sequence + 1

    def settle(self, span: Span) -> None:
        """
        Mark a span as done with; the cursor follows as far as it can.
        """
        span.done = True
        while self._spans and self._spans[0].done:
            self.settled = self._spans.popleft().end
        if not self._spans:
            self.settled = self.next
        self.source.commit(self.sink, self.settled)

    def skip_evicted(self) -> None:
        """
        Go on behind records that the journal had to give up.
        """
        store = self.source.store
        if store is None or self._segment in store.segments:
            return
        self._leave()
        if store.segments and store.segments[0].first > self.next:
            self.peek()

    def close(self) -> None:
        """
        Let go of the open segment.
        """
        self._leave()

    def _fill(self) -> None:
        if near := self.source.recent(self.next):
            self._leave()
            self._ahead.extend(near)
            return
        store = self.source.store
        end = self.next if store is None else store.next
        while not self._ahead and self._read_on():
            pass
        if self._ahead:
            return
        self._skip_to(end)
        self._ahead.extend(self.source.beyond(self.next))

    def _read_on(self) -> bool:
        """
        Read the next piece of the store into `_ahead`; False at its end.
        """
        store = self.source.store
        if store is None or self.next >= store.next:
            return False
        segment = self._segment or self._enter(store)
        if segment is None:
            return False
        following = store.after(segment)
        limit = segment.size
        if self._offset < limit:
            self._read(limit)
            return True
        if following is not None:
            self._open(following)
        return following is not None

    def _read(self, limit: int) -> None:
        size = CHUNK
        while True:
            wanted = min(size, limit - self._offset)
            data = self._piece(wanted)
            last = len(data) < wanted or self._offset + wanted == limit
            found = scan(data, last=last)
            if found.done or last:
                break
            size *= 2
        self._offset += wanted if last else found.done
        self._ahead.extend(frame for frame in found.frames if frame.sequence >= self.next)

    def _piece(self, wanted: int) -> bytes:
        """
        Read on in the open segment; less than wanted where the file is shorter than it was, or damaged.
        """
        try:
            return os.pread(self._descriptor, wanted, self._offset) if self._descriptor >= 0 else b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            logger.warning("a part of the journal cannot be read and is left out: %s", error)
            return b""

    def _enter(self, store: Store) -> Segment | None:
        segment = store.holding(self.next)
        if segment is not None:
            self._open(segment)
        return segment

    def _open(self, segment: Segment) -> None:
        """
        Open a segment, or go through it as if it were empty when it is gone.
        """
        self._leave()
        with contextlib.suppress(FileNotFoundError):
            self._descriptor = files.open_private(segment.path, os.O_RDONLY)
        self._segment, self._offset = segment, 0

    def _leave(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._segment, self._descriptor = None, -1

    def _skip_to(self, sequence: int) -> None:
        while self.next < sequence:
            gap = self.source.gap(self.next)
            end = int(min(gap.end, sequence))
            self._lost(gap.reason, end - self.next)
            self.next = end
