"""
The journal of this process: what `append` returned from is safe.

Records go to the segment files of a folder of our own, which nobody else touches while we hold its lock. Where there is
no disk (durability `memory`, a full or read-only file system) they wait in a ring; when the disk is back, or at exit,
the ring is written out in order, under the same sequence numbers.
"""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from otel_llm.delivery import files, frames, mounts, native
from otel_llm.delivery.frames import Frame
from otel_llm.delivery.gaps import Gap, Gaps
from otel_llm.delivery.ring import Ring
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.delivery.store import Segment, Store
from otel_llm.errors import JournalError
from otel_llm.telemetry.event import Event

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENTS_PER_AGE = 8
RECENT, RECENT_BYTES = 4096, 8 * 1024 * 1024
"""Events that were written just now are kept in memory, too, for couriers that keep up: about 4 KB each."""
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
        self.give_up_older: Callable[[], int] = lambda: 0
        """Removes the oldest records that dead processes left, and gives their bytes."""
        self._group = group
        self._settings = settings
        self._rejected = rejected
        self._wake = wake
        self._lock = native.new_lock()
        self._room = threading.Condition(self._lock)
        self._sync_lock = native.new_lock()
        self._unsynced: list[int] = []
        self._new_names: set[Path] = set()
        """Folders with entries that a power cut could take back."""
        self._synced = 0
        self._busy = False
        self._interrupted = False
        self._late: deque[tuple[bytes, Event | None]] = deque()
        self._gaps = Gaps()
        self._ring = Ring(settings.buffer_size)
        self._recent = Ring(RECENT, RECENT_BYTES)
        self._cursors = dict.fromkeys(sinks, 0)
        self._segment: Segment | None = None
        self._begun = 0.0
        self._descriptor = _CLOSED
        self._lock_descriptor = _CLOSED
        self._full = False
        self._warned = False
        self._min_free = settings.journal_min_free_bytes
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
                self.store.advance(sink, self.next)
            return self.next

    def beyond(self, sequence: int) -> list[Frame]:
        with self._lock:
            if self.store is not None and self.store.next > sequence:
                return []
            return self._ring.since(sequence, self._settings.batch_size)

    def recent(self, sequence: int) -> list[Frame]:
        with self._lock:
            return self._recent.since(sequence, self._settings.batch_size) if self._recent.first <= sequence else []

    def gap(self, sequence: int) -> Gap:
        with self._lock:
            return self._gaps.at(sequence)

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
                self.store.advance(sink, sequence)

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
        if self._syncs:
            self.sync()
        return True

    def harden(self) -> None:
        """
        Keep on disk what only memory holds, now that the process may end, down to the last free byte.
        """
        self._min_free = 0
        if not self._ring or not files.CAN_LOCK:
            return
        if self._durability == "memory":
            self._durability = "process"
        if not self.recover():
            logger.error("%d records that no disk took end with the process, unless they are sent", len(self._ring))

    def sync(self, sequence: int | None = None) -> None:
        """
        Wait until the disk has what was appended before that number (default: everything).
        """
        with self._sync_lock:
            if self._synced >= (self.next if sequence is None else sequence):
                return
            with self._lock:
                end = self.next
                written, self._unsynced = self._unsynced, []
                folders, self._new_names = self._new_names, set()
            try:
                self._sync_all(written, folders)
            except OSError as error:
                with self._lock:
                    self._lose_disk(error)
            self._synced = max(self._synced, end)

    def keep_within_limits(self, now: float) -> None:
        """
        Give up segments that are too old or too much, and the disk when it is full or our files are gone.
        """
        with self._lock:
            if self.store is None:
                return
            try:
                self._divide_by_age(self.store, now)
                while self.store.evict("expired", older_than=now - self._settings.journal_max_age):
                    pass
                self._keep_within_quota(self.store)
                if self._descriptor != _CLOSED:
                    self._look_at_disk(self.store)
            except OSError as error:
                self._lose_disk(error)

    def close(self) -> None:
        """
        End writing; a journal that nobody waits for is removed, any other is left to the next process.
        """
        with self._lock:
            self._end_segment()
        if self._syncs:
            self.sync()
        with self._sync_lock, self._lock:
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
        self._new_names = set()
        self._descriptor = self._lock_descriptor = _CLOSED
        if self.store is not None:
            owned.discard(self.store.folder)
        self.store = self._segment = None

    @property
    def _syncs(self) -> bool:
        return self._durability in {"power", "always"}

    def _keep(self, payload: bytes, event: Event | None) -> bool:
        if len(payload) > frames.MAX_PAYLOAD:
            return self._reject("too_large")
        if self._descriptor == _CLOSED or self._ring:
            return self._keep_in_memory(payload)
        if self._full:
            return self._reject("journal_full")
        sequence = self.next
        try:
            self._write(sequence, payload)
        except OSError as error:
            self._lose_disk(error)
            return self._keep_in_memory(payload)
        if event is not None:
            self._recent.follow(Frame(sequence, b"", 0, event), len(payload))
        return True

    def _keep_in_memory(self, payload: bytes) -> bool:
        if self._ring.full:
            waits = self._durability == "memory" and self._settings.when_full == "block"
            if waits or self._settings.when_full == "drop_new":
                return self._reject("buffer_full")
            lost = self._ring.push_out()
            self._gaps.note(lost, lost + 1, "buffer_full")
        if self._ring:
            self.next = self._ring.next
        self._ring.append(Frame(self.next, payload), len(payload))
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
        if self._interrupted:
            self._cut_back(segment)
        if segment.size >= self._segment_bytes:
            segment = self._begin_segment(store, sequence)
        frame = frames.pack(sequence, payload)
        # A signal handler that raises may end this after the write, before the next lines: these it cannot part.
        self._interrupted = True
        written = os.write(self._descriptor, frame)
        if written < len(frame):
            self._cut_back(segment)
            raise OSError(errno.ENOSPC, "no space is left for a whole record")
        segment.size += written
        store.next = sequence + 1
        self._interrupted = False
        if sequence >= self.next:
            self.next = sequence + 1

    def _cut_back(self, segment: Segment) -> None:
        """
        Take back what was written of a record that nobody was told is kept.
        """
        os.ftruncate(self._descriptor, segment.size)
        self._interrupted = False

    def _begin_segment(self, store: Store, sequence: int) -> Segment:
        self._end_segment()
        store.next = sequence
        self._descriptor, self._segment = store.add()
        self._begun = time.time()
        if self._syncs:
            self._new_names.add(store.folder)
        self._keep_within_quota(store)
        return self._segment

    def _divide_by_age(self, store: Store, now: float) -> None:
        """
        Begin a new segment from time to time, so that old records can be given up without young ones.
        """
        old = now - self._begun > self._settings.journal_max_age / SEGMENTS_PER_AGE
        if old and self._descriptor != _CLOSED and self.next > store.segments[-1].first:
            self._begin_segment(store, self.next)

    def _end_segment(self) -> None:
        if self._descriptor == _CLOSED:
            return
        if self._interrupted and self._segment is not None:
            with contextlib.suppress(OSError):
                self._cut_back(self._segment)
        if self._syncs:
            self._unsynced.append(self._descriptor)
        else:
            os.close(self._descriptor)
        self._descriptor = _CLOSED

    def _keep_within_quota(self, store: Store) -> None:
        """
        Give up the oldest records, or refuse new ones, before the open segment could become too much.
        """
        if self._settings.when_full == "drop_new":
            self._full = self._is_too_much(store)
            return
        while self._is_too_much(store) and (freed := self.give_up_older()):
            self.other_bytes -= freed
        while self._is_too_much(store) and store.evict("journal_full"):
            pass

    def _is_too_much(self, store: Store) -> bool:
        closed = store.size - store.segments[-1].size if store.segments else 0
        return closed + self._segment_bytes + self.other_bytes > self._settings.journal_max_bytes

    def _look_at_disk(self, store: Store, needed: int = 0) -> None:
        """
        Raise `OSError` when so many bytes would not leave the disk enough room, or nobody could read them.
        """
        if self._descriptor != _CLOSED and not os.fstat(self._descriptor).st_nlink:
            raise OSError(errno.ENOENT, "somebody removed the journal's files")
        if self._min_free and (free := files.free_bytes(store.folder)) < self._min_free + needed:
            least = f"journal_min_free_bytes is {self._min_free}"
            raise OSError(errno.ENOSPC, f"{free} bytes are free on the disk, and {least}")

    def _lose_disk(self, error: Exception) -> None:
        self._end_segment()
        if not self._warned:
            logger.error("the journal cannot be written, records wait in memory only: %s", error)
        self._warned = True

    def _sync_all(self, written: list[int], folders: set[Path]) -> None:
        with contextlib.ExitStack() as closing:
            for descriptor in written:
                closing.callback(os.close, descriptor)
            with self._lock:
                if self._descriptor != _CLOSED:
                    written.append(os.dup(self._descriptor))
                    closing.callback(os.close, written[-1])
            for descriptor in written:
                files.sync(descriptor)
            for folder in folders:
                files.sync_folder(folder)

    def _spill(self, count: int = 500) -> None:
        with self._lock:
            if self.store is not None and not self.store.folder.exists():
                self.abandon()
            store = self.store or self._create_folder()
            if self._descriptor == _CLOSED:
                store.clear()
            self._look_at_disk(store, self._ring.size)
            first = self._ring.first if self._ring else self.next
            if self._descriptor == _CLOSED:
                self._begin_segment(store, first)
            self._synced = min(self._synced, first)
            for frame in self._ring.since(first, count):
                self._write(frame.sequence, frame.payload)
                self._ring.release(frame.sequence + 1)

    def _create_folder(self) -> Store:
        files.private_folder(self._group)
        name = f"{os.getpid()}-{time.time_ns()}"
        draft = files.private_folder(self._group / f".{name}")
        try:
            store = self._move_in(draft, self._group / name)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        self._new_names |= {self._group, self._group.parent} if self._syncs else set()
        _warn_of_network(self._group)
        return store

    def _move_in(self, draft: Path, folder: Path) -> Store:
        """
        Give the folder its name once its lock is held, so that nobody takes it for a dead process's.
        """
        descriptor = files.open_private(draft / "lock", os.O_WRONLY | os.O_CREAT)
        owned.add(folder)
        try:
            files.try_lock(descriptor)
            store = Store(draft, self._gaps)
            for sink, cursor in self._cursors.items():
                store.set_cursor(sink, cursor)
            store.folder = draft.rename(folder)
        except OSError:
            owned.discard(folder)
            os.close(descriptor)
            raise
        self._lock_descriptor, self.store = descriptor, store
        return store


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@cache
def _warn_of_network(folder: Path) -> None:
    kind = mounts.network_file_system(folder)
    if kind is not None:
        logger.warning(
            "the journal is on a network file system (%s), whose locks and writes may not survive what a disk's do: "
            "set OTEL_LLM_JOURNAL_DIR to a folder on this machine",
            kind,
        )
