"""Reads the table `llm_calls` of a SQLite file, without ever writing to it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from otel_llm.errors import StoreError
from otel_llm.usage.query import CallRow, Query
from otel_llm.usage.schema import SQLITE_COLUMNS, lacking
from otel_llm.usage.sql import REPEATED, Dialect, call, selection

_DIALECT = Dialect(
    mark=":{}",
    ended_at="ended_at",
    moment="{}",
    label="EXISTS (SELECT 1 FROM json_each(labels) WHERE key = {key} AND value = {value})",
)


class SqliteStore:
    """
    The calls in one SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def calls(self, query: Query) -> Iterator[CallRow]:
        """
        Give the calls that fit; raises `StoreError` when the file is missing or is not ours.
        """
        statement, values = selection(query, _DIALECT)
        with self._table() as connection:
            once = {row["response_id"]: row for row in connection.execute(REPEATED)}
            for row in connection.execute(statement, values):
                yield call(row, once)

    def events(self, after: int = 0, last: int | None = None) -> list[tuple[int, bytes]]:
        """
        Give whole records in format `otel` with their row ids: those `after` a row, at most the `last` ones, in order.
        """
        with self._table() as connection:
            rows = connection.execute(
                "SELECT id, event FROM llm_calls WHERE id > ? ORDER BY id DESC LIMIT ?",
                (after, -1 if last is None else last),
            ).fetchall()
        return [(row["id"], _bytes(row["event"])) for row in reversed(rows)]

    def is_ready(self) -> bool:
        """
        Tell whether a sink has made the file and its table; raises `StoreError` when the file is no database.
        """
        if not self.path.is_file():
            return False
        with self._connection() as connection:
            return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'llm_calls'").fetchone() is not None

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        """
        Open a file in which `llm_calls` has all columns: those that an older version did not know are NULL.
        """
        with self._connection() as connection:
            columns = {row["name"] for row in connection.execute(SQLITE_COLUMNS)}
            if not columns:
                raise StoreError(f"no records yet: {self.path} has no table llm_calls")
            if absent := lacking(columns, self.path):
                nulls = ", ".join(f"NULL AS {name}" for name in absent)
                view = f"CREATE TEMP VIEW llm_calls AS SELECT *, {nulls} FROM main.llm_calls"  # noqa: S608 - our names
                connection.execute(view)
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise StoreError(f"no records yet: {self.path} does not exist")
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except sqlite3.Error as exc:
            raise StoreError(f"{self.path} cannot be read: {exc}") from exc


def _bytes(event: str | bytes) -> bytes:
    return event.encode() if isinstance(event, str) else event
