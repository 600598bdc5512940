"""
The journal of this process: what `append` returned from is safe.

Records go to the segment files of a folder of our own, which nobody else touches while we hold its lock. Where there is
no disk (durability `memory`, a full or read-only file system) they wait in a ring; when the disk is back, or at exit,
the ring is written out in order, under the same sequence numbers.
"""

import asyncio
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from otel_llm.delivery import files, frames
from otel_llm.delivery.frames import Frame
from otel_llm.delivery.ring import Ring
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.delivery.store import Segment, Store
from otel_llm.errors import JournalError
from otel_llm.telemetry.event import Event

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
RECENT, RECENT_BYTES = 1000, 4 * 1024 * 1024
"""Records that were written just now are kept in memory, too, for couriers that keep up."""
_NEVER = 1 << 62
_CLOSED = -1

owned: set[Path] = set()
"""The folders whose locks this process holds: opening and closing a lock file once more would give the lock away."""


class Journal:
    """
    An append-only log with one writer, this process, and one reader per sink.

    `rejected` is told the reason for every record that was not taken, `wake` is called once when record number
    `wake_at` has arrived.
    """

    def __init__(
        self,
        group: Path,
        settings: DeliverySettings,
        sinks: Iterable[str],
        *,
        rejected: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        self.next = 0
        self.wake_at = _NEVER
        self.store: Store | None = None
        self.other_bytes = 0
        """What the other journals of the group take on disk."""
        self._group = group
        self._settings = settings
        self._rejected = rejected
        self._wake = wake
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._sync_lock = threading.RLock()
        self._unsynced: list[int] = []
        self._synced = 0
        self._busy = False
        self._late: deque[tuple[bytes, Event | None]] = deque()
        self._ring = Ring(settings.buffer_size)
        self._recent = Ring(RECENT, RECENT_BYTES)
        self._cursors = dict.fromkeys(sinks, 0)
        self._segment: Segment | None = None
        self._descriptor = _CLOSED
        self._lock_descriptor = _CLOSED
        self._full = False
        self._warned = False
        self._durability = settings.durability if files.CAN_LOCK else "memory"
        self._segment_bytes = max(64 * 1024, min(SEGMENT_BYTES, settings.journal_max_bytes // 8))
        if self._durability != "memory":
            self.recover()

    @property
    def on_disk(self) -> bool:
        """Whether the next record goes to a file."""
        return self._descriptor != _CLOSED and not len(self._ring)

    @property
    def folder(self) -> Path | None:
        """Where the records lie; None while they are in memory only."""
        return None if self.store is None else self.store.folder

    @property
    def size(self) -> int:
        """The bytes that the records take, on disk or in memory."""
        return self._ring.size + (0 if self.store is None else self.store.size)

    def append(self, payload: bytes, event: Event | None = None) -> bool:
        """
        Keep one record; False when there is no room for it. The couriers need not decode an `event` given with it.
        """
        if self._durability == "memory" and self._ring.full and self._settings.when_full == "block":
            self._wait_for_room()
        with self._lock:
            # A finalizer or a signal handler may run in the middle of an append of this very thread.
            if self._busy:
                self._late.append((payload, event))
                return True
            self._busy = True
            try:
                kept = self._keep(payload, event)
                while self._late:
                    self._keep(*self._late.popleft())
            finally:
                self._busy = False
            sequence = self.next
        if self._late:
            self.append(*self._late.popleft())
        if sequence >= self.wake_at:
            self.wake_at = _NEVER
            self._wake()
        if self._durability == "always":
            self.sync(sequence)
        return kept

    def register(self, sink: str) -> int:
        """
        Let a sink in that came later; gives the number of the first record it gets.
        """
        with self._lock:
            self._cursors[sink] = self.next
            if self.store is not None:
                self.store.set_cursor(sink, self.next)
            return self.next

    def beyond(self, sequence: int) -> list[Frame]:
        with self._lock:
            if self.store is not None and self.store.next > sequence:
                return []
            return self._ring.since(sequence, self._settings.batch_size)

    def recent(self, sequence: int) -> list[Frame]:
        with self._lock:
            return self._recent.since(sequence, self._settings.batch_size) if self._recent.first <= sequence else []

    def why_lost(self, sequence: int) -> str:
        if sequence < self._ring.dropped_below:
            return "buffer_full"
        return "corrupt" if self.store is None else self.store.why_lost(sequence)

    def commit(self, sink: str, sequence: int) -> None:
        if self._cursors.get(sink) == sequence:
            return
        with self._lock:
            self._cursors[sink] = sequence
            oldest = min(self._cursors.values())
            self._ring.release(oldest)
            self._recent.release(oldest)
            self._room.notify_all()
        if self.store is not None:
            self._store_cursor(self.store, sink, sequence)

    def want(self, sequence: int) -> None:
        """
        Ask to be woken when the record before that number has arrived.
        """
        self.wake_at = min(self.wake_at, sequence)
        if self.next >= sequence:
            self._wake()

    def recover(self) -> bool:
        """
        Write to disk what had to wait in memory; False while the disk does not let us.
        """
        try:
            while not self.on_disk:
                self._spill()
        except (OSError, JournalError) as error:
            self._lose_disk(error)
            return False
        if self._warned:
            logger.warning("the journal writes to %s again", self._group)
            self._warned = False
        return True

    def harden(self) -> None:
        """
        Keep on disk what only memory holds, now that the process may end.
        """
        if self._durability == "memory" and len(self._ring) and files.CAN_LOCK:
            self._durability = "process"
            self.recover()

    def sync(self, sequence: int | None = None) -> None:
        """
        Wait until the disk has what was appended before that number (default: everything).
        """
        with self._sync_lock:
            if self._synced >= (self.next if sequence is None else sequence):
                return
            with self._lock:
                end = self.next
                unsynced, self._unsynced = self._unsynced, []
                if self._descriptor != _CLOSED:
                    unsynced.append(os.dup(self._descriptor))
            for descriptor in unsynced:
                _sync_and_close(descriptor)
            self._synced = end

    def keep_within_limits(self, now: float) -> None:
        """
        Give up segments that are too old or too much.
        """
        with self._lock:
            if self.store is None:
                return
            while self.store.evict("expired", older_than=now - self._settings.journal_max_age):
                pass
            self._keep_within_quota(self.store)

    def close(self) -> None:
        """
        End writing; a journal that nobody waits for is removed, any other is left to the next process.
        """
        with self._lock:
            self._end_segment()
            self.sync()
            if self.store is not None and self.next <= min(self._cursors.values(), default=0):
                self.store.delete()
            self.abandon()

    def abandon(self) -> None:
        """
        Close the files without a further look at them: in a forked child they are the parent's.
        """
        for descriptor in (self._descriptor, self._lock_descriptor, *self._unsynced):
            if descriptor != _CLOSED:
                os.close(descriptor)
        self._unsynced = []
        self._descriptor = self._lock_descriptor = _CLOSED
        if self.store is not None:
            owned.discard(self.store.folder)
        self.store = self._segment = None

    def _keep(self, payload: bytes, event: Event | None) -> bool:
        if self._descriptor == _CLOSED or self._ring:
            return self._keep_in_memory(payload)
        if self._full:
            return self._reject("journal_full")
        try:
            self._write(self.next, payload)
        except OSError as error:
            self._lose_disk(error)
            return self._keep_in_memory(payload)
        self._remember(Frame(self.next, payload, 0, event))
        self.next += 1
        return True

    def _remember(self, frame: Frame) -> None:
        if frame.event is None:
            return
        while self._recent.full:
            self._recent.push_out()
        if len(self._recent) and self._recent.first + len(self._recent) != frame.sequence:
            self._recent.release(frame.sequence)
        self._recent.append(frame)

    def _keep_in_memory(self, payload: bytes) -> bool:
        if self._ring.full:
            waits = self._durability == "memory" and self._settings.when_full == "block"
            if waits or self._settings.when_full == "drop_new":
                return self._reject("buffer_full")
            self._ring.push_out()
        self._ring.append(Frame(self.next, payload))
        self.next += 1
        return True

    def _reject(self, reason: str) -> bool:
        self._rejected(reason)
        return False

    def _wait_for_room(self) -> None:
        if _in_event_loop():
            return
        with self._room:
            self._room.wait_for(lambda: not self._ring.full, self._settings.block_ms / 1000)

    def _write(self, sequence: int, payload: bytes) -> None:
        store, segment = self.store, self._segment
        if store is None or segment is None:
            raise OSError("no segment is open")
        frame = frames.pack(sequence, payload)
        written = os.write(self._descriptor, frame)
        if written < len(frame):
            os.ftruncate(self._descriptor, segment.size)
            raise OSError("no space left for a whole record")
        segment.size += written
        store.next = sequence + 1
        if segment.size >= self._segment_bytes:
            self._begin_segment(store)

    def _begin_segment(self, store: Store) -> None:
        self._end_segment()
        self._descriptor, self._segment = store.add()
        self._keep_within_quota(store)

    def _end_segment(self) -> None:
        if self._descriptor == _CLOSED:
            return
        if self._durability in {"power", "always"}:
            self._unsynced.append(self._descriptor)
        else:
            os.close(self._descriptor)
        self._descriptor = _CLOSED

    def _keep_within_quota(self, store: Store) -> None:
        limit = self._settings.journal_max_bytes
        drop_old = self._settings.when_full != "drop_new"
        while (too_much := store.size + self.other_bytes > limit) and drop_old and store.evict("journal_full"):
            pass
        self._full = too_much and not drop_old

    def _lose_disk(self, error: Exception) -> None:
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED
        if not self._warned:
            logger.error("the journal cannot be written, records wait in memory only: %s", error)
        self._warned = True

    def _spill(self, count: int = 500) -> None:
        with self._lock:
            if self.store is not None and not self.store.folder.exists():
                self.abandon()
            if self.store is None:
                self._create_folder()
            if self._descriptor == _CLOSED and self.store is not None:
                self.store.next = self._ring.first if self._ring else self.next
                self._descriptor, self._segment = self.store.add()
            for frame in self._ring.since(self._ring.first, count):
                self._write(frame.sequence, frame.payload)
                self._ring.release(frame.sequence + 1)

    def _create_folder(self) -> None:
        files.private_folder(self._group)
        name = f"{os.getpid()}-{time.time_ns()}"
        draft = files.private_folder(self._group / f".{name}")
        try:
            self._move_in(draft, self._group / name)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _move_in(self, draft: Path, folder: Path) -> None:
        """
        Give the folder its name once its lock is held, so that nobody takes it for a dead process's.
        """
        descriptor = files.open_private(draft / "lock", os.O_WRONLY | os.O_CREAT)
        try:
            files.try_lock(descriptor)
            store = Store(draft)
            for sink, cursor in self._cursors.items():
                store.set_cursor(sink, cursor)
            store.folder = draft.rename(folder)
        except OSError:
            os.close(descriptor)
            raise
        self._lock_descriptor, self.store = descriptor, store
        owned.add(folder)

    def _store_cursor(self, store: Store, sink: str, sequence: int) -> None:
        try:
            with self._lock:
                store.set_cursor(sink, sequence)
        except OSError as error:
            logger.warning("the cursor of %s could not be written, records may arrive twice: %s", sink, error)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _sync_and_close(descriptor: int) -> None:
    try:
        _datasync(descriptor)
    except OSError as error:
        logger.warning("the journal could not be synced: %s", error)
    finally:
        os.close(descriptor)


_datasync = getattr(os, "fdatasync", os.fsync)
