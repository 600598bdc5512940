"""
What waits in a journal directory, read without changing anything in it.

A directory holds groups (a service with its sinks), a group the journals of processes, living and dead, and the dead
letters of its sinks. Each sink waits for the records behind its cursor.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from otel_llm.delivery import files
from otel_llm.delivery.dead_letters import FOLDER
from otel_llm.delivery.group import LABEL
from otel_llm.delivery.journal import owned
from otel_llm.delivery.made import made_on_disk
from otel_llm.delivery.store import Store
from otel_llm.errors import JournalError

_CHUNK = 256 * 1024


class Waiting(Struct, frozen=True):
    """
    What one sink still waits for.
    """

    pending: int = 0
    oldest_ns: int | None = None
    """When the oldest of these records was made, in Unix nanoseconds."""

    @property
    def oldest_seconds(self) -> float | None:
        """The age of the oldest of these records."""
        return None if self.oldest_ns is None else max(0.0, time.time() - self.oldest_ns / 1e9)


class ProcessJournal(Struct, frozen=True, kw_only=True):
    """
    The journal of one process.
    """

    folder: Path
    process: str
    """The process's id, as the folder's name tells it."""
    alive: bool
    """Whether some process holds it: the one that writes it, or the heir that empties it."""
    bytes: int = 0
    waiting: Mapping[str, Waiting] = {}
    """What each sink, by its cursor's name, waits for."""
    fault: str | None = None
    """Why it cannot be read."""

    @property
    def pending(self) -> int:
        """Records that some sink waits for."""
        return max((waiting.pending for waiting in self.waiting.values()), default=0)


class DeadFile(Struct, frozen=True):
    """
    The dead letters of one sink.
    """

    path: Path
    sink: str
    """The name of the sink's cursor."""
    letters: int
    bytes: int


class Group(Struct, frozen=True, kw_only=True):
    """
    A service with its sinks, and what waits for them.
    """

    folder: Path
    service: str
    sinks: Mapping[str, str] = {}
    """The names of the cursors by the sinks' names."""
    journals: tuple[ProcessJournal, ...] = ()
    dead: tuple[DeadFile, ...] = ()

    @property
    def left(self) -> tuple[ProcessJournal, ...]:
        """The journals that dead processes left."""
        return tuple(journal for journal in self.journals if not journal.alive)

    @property
    def bytes(self) -> int:
        """What the journals take on disk."""
        return sum(journal.bytes for journal in self.journals)

    def names(self) -> dict[str, str]:
        """
        Give the sinks' names by those of their cursors, also of sinks that came later or whose label is lost.
        """
        keys = [key for journal in self.journals for key in journal.waiting] + [file.sink for file in self.dead]
        return {key: sink_name(key) for key in keys} | {key: name for name, key in self.sinks.items()}

    def waiting(self, key: str, journals: Iterable[ProcessJournal] | None = None) -> Waiting:
        """
        Give what one sink waits for in all these journals together, by default in every one of the group.
        """
        found = [journal.waiting.get(key, Waiting()) for journal in (self.journals if journals is None else journals)]
        times = [waiting.oldest_ns for waiting in found if waiting.oldest_ns is not None]
        return Waiting(sum(waiting.pending for waiting in found), min(times, default=None))


def groups(journal_dir: Path) -> list[Group]:
    """
    Give every group of a journal directory that has anything to show.
    """
    found = (group(folder) for folder in sorted(journal_dir.glob("*")) if folder.is_dir() and not folder.is_symlink())
    return [each for each in found if each.journals or each.dead]


def group(folder: Path) -> Group:
    """
    Look into the folder of one group.
    """
    about = _label(folder / LABEL)
    seen = [_journal(path) for path in _folders(folder)]
    return Group(
        folder=folder,
        service=about.service,
        sinks=about.sinks,
        journals=tuple(journal for journal in seen if journal is not None),
        dead=tuple(file for file in map(_dead, sorted((folder / FOLDER).glob("*.jsonl"))) if file.letters),
    )


def sink_name(key: str) -> str:
    """
    Give the sink's name from that of its cursor.
    """
    return key.rpartition("-")[0] or key


def _folders(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("[0-9]*-*") if path.is_dir() and not path.is_symlink()]
    return sorted(found, key=lambda path: path.name.rpartition("-")[2])


def _journal(folder: Path) -> ProcessJournal | None:
    process = folder.name.partition("-")[0]
    try:
        alive = is_held(folder)
        store = Store.load(folder, ())
        waiting = {key: _waiting(store, cursor) for key, cursor in store.cursors.items()}
    except FileNotFoundError:  # its owner has just removed it, or a part of it
        return None
    except (OSError, JournalError) as error:
        return ProcessJournal(folder=folder, process=process, alive=False, fault=str(error))
    return ProcessJournal(folder=folder, process=process, alive=alive, bytes=store.size, waiting=waiting)


def is_held(folder: Path) -> bool:
    """
    Tell whether some process holds the lock of a journal.
    """
    if folder in owned:
        return True
    try:
        descriptor = files.open_private(folder / "lock", os.O_WRONLY)
    except FileNotFoundError:
        return False
    try:
        return not files.try_lock(descriptor)
    finally:
        os.close(descriptor)


def _waiting(store: Store, cursor: int) -> Waiting:
    first = max(cursor, store.segments[0].first) if store.segments else store.next
    if first >= store.next:
        return Waiting()
    return Waiting(store.next - first, made_on_disk(store, first))


def _dead(path: Path) -> DeadFile:
    try:
        with os.fdopen(files.open_private(path, os.O_RDONLY), "rb") as file:
            letters = sum(piece.count(b"\n") for piece in iter(lambda: file.read(_CHUNK), b""))
            return DeadFile(path, path.stem, letters, file.tell())
    except OSError:
        return DeadFile(path, path.stem, 0, 0)


class _Label(Struct):
    service: str = "unknown service"
    sinks: dict[str, str] = {}


def _label(path: Path) -> _Label:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Label)
    except (OSError, msgspec.DecodeError):
        return _Label()
