"""SQLite: one row per call in a file that `otel-llm report`, `tail` and `ui` read."""

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from otel_llm.delivery.sink import DELIVERED, Batch, BlockingSink, Receipt, Record, Rejected
from otel_llm.usage.schema import SQLITE_INSERT, SQLITE_SCHEMA, row


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


class SqliteSink(BlockingSink):
    """
    Writes each batch in one transaction; an event that is there already stays as it is.
    """

    Options = SqliteOptions

    def __init__(self, options: SqliteOptions) -> None:
        self._options = options
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        self.close()
        path = Path(self._options.path).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        seconds = self._options.busy_timeout_ms / 1000
        self._connection = sqlite3.connect(path, timeout=seconds, isolation_level=None)
        _write_ahead(self._connection, seconds)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        for statement in SQLITE_SCHEMA:
            self._connection.execute(statement)

    def send(self, batch: Batch) -> Receipt:
        try:
            self._insert([_row(record) for record in batch.records])
        except _NEVER_TAKEN as error:
            return Receipt(Rejected(f"SQLite does not take it: {error}"))
        return Receipt(DELIVERED)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        if self._connection is None:
            raise sqlite3.OperationalError("the database is not open")
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                cursor.executemany(SQLITE_INSERT, rows)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")


_NEVER_TAKEN = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What SQLite and we raise over a value that will be no better next time."""


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


def _row(record: Record) -> tuple[object, ...]:
    return (*row(record.event), record.body.decode())
