"""
What dead processes left, taken over by exactly one living process of the same group.

Who gets the lock of a journal folder is its heir; the lock ends with the process that holds it, so whoever died in the
middle is inherited from in turn.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from otel_llm.delivery import files
from otel_llm.delivery.frames import Frame
from otel_llm.delivery.gaps import Gap
from otel_llm.delivery.journal import owned
from otel_llm.delivery.store import Store, last_written
from otel_llm.errors import JournalError

logger = logging.getLogger(__name__)

DRAFT_SECONDS = 60
"""Nobody takes so long to make a folder, or to remove it."""

_told: set[Path] = set()
"""Journals that could not be read; another time they may be."""


class Inheritance:
    """
    A dead process's journal: nothing is appended any more, and it is removed when every sink has everything.
    """

    def __init__(self, store: Store, descriptor: int) -> None:
        self.store: Store | None = store
        self.next = store.next
        self.torn = store.torn
        self.cursors = dict(store.cursors)
        """Where each sink had come to when the journal was taken over."""
        self._left = store
        self._descriptor = descriptor

    @property
    def released(self) -> bool:
        """Whether it is somebody else's by now, or nobody's."""
        return self._descriptor < 0

    @property
    def size(self) -> int:
        """The bytes that are left of it on disk."""
        return 0 if self.released else self._left.size

    def recent(self, sequence: int) -> list[Frame]:  # noqa: ARG002 - it is long ago
        return []

    def beyond(self, sequence: int) -> list[Frame]:  # noqa: ARG002 - nothing of it is in memory
        return []

    def gap(self, sequence: int) -> Gap:
        return self._left.gaps.at(sequence)

    def commit(self, sink: str, sequence: int) -> None:
        if self._left.cursors.get(sink) == sequence or self.released:
            return
        self._left.advance(sink, sequence)
        self.close_if_delivered()

    def close_if_delivered(self) -> None:
        """
        Remove the journal when every sink has everything.
        """
        if self._left.delivered and not self.released:
            self._left.delete()
            self.release()

    def keep_within_limits(self, oldest: float) -> None:
        """
        Give up segments written before that time.
        """
        while self._left.evict("expired", older_than=oldest):
            pass

    def make_room(self) -> int:
        """
        Give up the oldest segment for newer records; gives the bytes that this freed.
        """
        before = self.size
        return before - self.size if not self.released and self._left.evict("journal_full") else 0

    def release(self) -> None:
        """
        Let the next heir have it.
        """
        if not self.released:
            owned.discard(self._left.folder)
            os.close(self._descriptor)
            self._descriptor = -1


def adopt(group: Path, sinks: Iterable[str]) -> list[Inheritance]:
    """
    Take over every journal of the group whose process is dead; `sinks` are owed what has no cursor.
    """
    found = [_inherit(folder, tuple(sinks)) for folder in journals(group)]
    return [inheritance for inheritance in found if inheritance is not None]


def journals(group: Path) -> Iterator[Path]:
    """
    Give the journal folders of a group that this process does not hold, oldest first.
    """
    if not group.is_dir():
        return
    for folder in sorted(group.glob("[0-9]*-*"), key=lambda path: path.name.rpartition("-")[2]):
        if folder not in owned and folder.is_dir() and not folder.is_symlink():
            yield folder


def bytes_of(group: Path, *, besides: Path | None) -> int:
    """
    Give what the journals of a group take on disk, without the one named.
    """
    return sum(_bytes_in(folder) for folder in group.glob("*") if folder != besides)


def purge(journal_dir: Path, oldest: float) -> int:
    """
    Remove the journals of every group that nobody lives for and nobody wrote since that time; gives their number.
    """
    removed = 0
    for group in journal_dir.glob("*"):
        _remove_drafts(group)
        for folder in journals(group):
            if last_written(folder) < oldest and (descriptor := _take(folder)) is not None:
                files.remove_folder(folder)
                os.close(descriptor)
                removed += 1
    return removed


def _remove_drafts(group: Path) -> None:
    """
    Remove folders whose process died before it had made, or had removed, the whole of them.
    """
    for draft in group.glob(".[0-9]*-*"):
        if last_written(draft) < time.time() - DRAFT_SECONDS:
            shutil.rmtree(draft, ignore_errors=True)


def _inherit(folder: Path, sinks: tuple[str, ...]) -> Inheritance | None:
    descriptor = _take(folder)
    if descriptor is None:
        return None
    try:
        files.private_folder(folder)
        store = Store.load(folder, sinks)
    except (OSError, JournalError) as error:
        os.close(descriptor)
        if folder not in _told:
            logger.warning("a journal is left as it is: %s", error)
        _told.add(folder)
        return None
    inheritance = Inheritance(store, descriptor)
    owned.add(folder)
    return inheritance


def _take(folder: Path) -> int | None:
    try:
        descriptor = files.open_private(folder / "lock", os.O_WRONLY)
    except OSError:
        return None
    if files.try_lock(descriptor) and _still_there(folder / "lock", descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _bytes_in(folder: Path) -> int:
    try:
        return sum(_size(segment) for segment in folder.glob("*.segment"))
    except FileNotFoundError:  # its owner has just renamed or removed it
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
