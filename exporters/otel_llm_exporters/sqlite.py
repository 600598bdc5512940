"""
SQLite: one row per call in a file that `otel-llm report` and `tail` read.

The table `llm_calls` and the view `usage_metrics`, which has the columns of an older monitor, are made where they are
missing; what has that name already is left as it is. Each event is there once, however often it was sent.

Files of other versions are written and read:

- An older file gets the columns, the indexes and the view that it lacks, from whoever opens it first to write. Its rows
  stay; what they did not record is NULL. `report` and `tail` change nothing: to them, what is lacking is NULL.
- A newer file stays as it is: columns that this version does not know keep their default, and are not read.
- A table `llm_calls` without `id`, `event_id`, `ended_at` or `event` is somebody else's. That is said; nothing is
  written into it, and the records wait in the journal until there is another `path`, or another table.

Several processes, of several versions, may write one file at the same time. Nothing is ever dropped from it.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from otel_llm.delivery import native
from otel_llm.delivery.sink import DELIVERED, Batch, BlockingSink, Receipt, Record, Rejected
from otel_llm.errors import NotDelivered, StoreError
from otel_llm.usage.schema import SQLITE_COLUMNS, SQLITE_INSERT, SQLITE_PARTS, row, sqlite_additions


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteOptions:
    """
    Options of the sink `sqlite`.

    ```yaml
    sinks:
      sqlite: {path: /var/lib/otel-llm/calls.db}
    ```

    ```yaml wrong
    sinks:
      sqlite: {busy_timeout_ms: a second}
    ```
    """

    path: str = "otel-llm.db"
    """The database file; made with mode 0600 where it is missing."""
    busy_timeout_ms: int = 10_000
    """How long to wait while another process writes."""
    sync: bool = False
    """Whether to wait until the disk has a batch, so that no power cut takes it; goes with `durability: always`."""


class SqliteSink(BlockingSink):
    """
    Writes each batch in one transaction; an event that is there already stays as it is.
    """

    Options = SqliteOptions

    def __init__(self, options: SqliteOptions) -> None:
        self._options = options
        self._connection: sqlite3.Connection | None = None
        self._in_use = native.new_lock()
        _sinks.add(self)

    def open(self) -> None:
        with _gate:
            pass  # a sink that was made after the others were paused waits here
        with self._in_use:
            self._open()

    def send(self, batch: Batch) -> Receipt:
        try:
            rows = [_row(record) for record in batch.records]
            with self._in_use:
                self._insert(self._connection or self._open(), rows)
        except _NEVER_TAKEN as error:
            return Receipt(Rejected(f"SQLite does not take it: {error}"))
        return Receipt(DELIVERED)

    def close(self) -> None:
        with self._in_use:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def pause(self) -> bool:
        """
        Close the file and keep it closed until `resume`; False when it is in use for too long.
        """
        if not self._in_use.acquire(timeout=_LONGEST_FORK_WAIT):
            return False
        self.close()
        return True

    def resume(self) -> None:
        """
        Let the file be opened again, when the next batch comes.
        """
        self._in_use.release()

    def _open(self) -> sqlite3.Connection:
        self.close()
        path = Path(self._options.path).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        seconds = self._options.busy_timeout_ms / 1000
        # Not only in our thread: the one that forks closes it.
        connection = sqlite3.connect(path, timeout=seconds, isolation_level=None, check_same_thread=False)
        self._connection = connection
        _write_ahead(connection, seconds)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._options.sync else 'NORMAL'}")
        _prepare(connection, path)
        return connection

    @staticmethod
    def _insert(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
        with _transaction(connection) as cursor:
            cursor.executemany(SQLITE_INSERT, rows)


_NEVER_TAKEN = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What SQLite and we raise over a value that will be no better next time."""


_LONGEST_FORK_WAIT = 2.0
"""Seconds that a fork waits for a batch to be written."""

_sinks: WeakSet[SqliteSink] = WeakSet()
_paused: list[SqliteSink] = []
_gate = native.new_lock()
"""Held by who forks."""


# A child inherits what SQLite knows of its locks, but not the locks: it would take none, and the process that closes
# the file first would delete the log in which the other one goes on writing.
def _pause_all() -> None:
    _gate.acquire()
    _paused.extend(sink for sink in tuple(_sinks) if sink.pause())


def _resume_all() -> None:
    while _paused:
        _paused.pop().resume()
    _gate.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_resume_all)


def _write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """
    Switch to write-ahead logging; SQLite does not wait here for a process that does the same, so we do.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """
    Make the table, or what it lacks; raises `NotDelivered` where it is somebody else's.
    """
    if not _lacking(connection, path):
        return
    with _transaction(connection) as cursor:
        for statement in _lacking(connection, path):
            cursor.execute(statement)


def _lacking(connection: sqlite3.Connection, path: Path) -> list[str]:
    parts, columns = ({name for (name,) in connection.execute(asked)} for asked in (SQLITE_PARTS, SQLITE_COLUMNS))
    try:
        return sqlite_additions(parts, columns, path)
    except StoreError as error:
        raise NotDelivered(f"{error}; another `path` makes a file for the calls") from None


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """
    Write alone, all or nothing; raises `NotDelivered` where the table is not as it should be.
    """
    with closing(connection.cursor()) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
        except BaseException as error:
            connection.rollback()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                raise NotDelivered(f"the table llm_calls does not take calls: {error}") from error
            raise
        cursor.execute("COMMIT")


def _row(record: Record) -> tuple[object, ...]:
    return (*row(record.event), record.body.decode())
