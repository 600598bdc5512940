"""Reads the table `llm_calls` of a SQLite file, without ever writing to it."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from otel_llm.errors import StoreError
from otel_llm.formats.facts import PROVIDERS
from otel_llm.usage.query import CallRow, Query, as_text, exact

_STATUS = "coalesce(status, iif(error_type IS NULL, 'success', 'error'))"
"""Records of other instrumentations tell no status."""

_COLUMNS = f"""\
id, ended_at, {_STATUS} AS outcome, event_type, operation, provider,
coalesce(request_model, response_model) AS model, latency_ms, ttft_ms,
input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, attempts,
key_hash, user_id, session_id, project_id, labels, response_id"""

_REPEATED = """\
SELECT response_id,
       min(CASE WHEN total_tokens IS NOT NULL THEN id END) AS with_tokens,
       min(CASE WHEN cost_usd IS NOT NULL THEN id END) AS with_cost
FROM llm_calls WHERE response_id IS NOT NULL GROUP BY response_id HAVING count(*) > 1"""

_LATEST = " ORDER BY ended_at DESC, id DESC LIMIT :limit OFFSET :offset"

_EQUAL = {
    "status": _STATUS,
    "user": "user_id",
    "session": "session_id",
    "project": "project_id",
}
"""Fields of a query that one value of the row answers."""


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
        where, values = _where(query)
        order = "" if query.limit is None and not query.offset else _LATEST
        with self._connection() as connection:
            once = {row["response_id"]: row for row in connection.execute(_REPEATED)}
            for row in connection.execute(f"SELECT {_COLUMNS} FROM llm_calls{where}{order}", values):  # noqa: S608 - values are bound
                yield _call(row, once)

    def events(self, after: int = 0, last: int | None = None) -> list[tuple[int, bytes]]:
        """
        Give whole records in format `otel` with their row ids: those `after` a row, at most the `last` ones, in order.
        """
        with self._connection() as connection:
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
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise StoreError(f"no records yet: {self.path} does not exist")
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except sqlite3.Error as exc:
            raise StoreError(f"{self.path} cannot be read: {exc}") from exc


def _where(query: Query) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {"limit": -1 if query.limit is None else query.limit, "offset": query.offset}
    terms = [*_times(query, values), *_names(query, values), *_labels(query.labels, values)]
    return (f" WHERE {' AND '.join(terms)}" if terms else ""), values


def _times(query: Query, values: dict[str, Any]) -> Iterator[str]:
    if query.since is not None:
        values["since"] = as_text(query.since)
        yield "ended_at >= :since"
    if query.until is not None:
        values["until"] = as_text(query.until)
        yield "ended_at < :until"


def _names(query: Query, values: dict[str, Any]) -> Iterator[str]:
    for name, column in _EQUAL.items():
        if (value := getattr(query, name)) is not None:
            values[name] = value
            yield f"{column} = :{name}"
    if query.success is not None:
        yield f"{_STATUS} {'=' if query.success else '<>'} 'success'"
    if query.model is not None:
        values["model"] = query.model
        yield "(request_model = :model OR response_model = :model)"
    if query.key is not None:
        values["key"] = query.key
        yield "substr(key_hash, 1, length(:key)) = :key"
    if query.provider is not None:
        values["provider"] = msgspec.json.encode(_long_names(query.provider)).decode()
        yield "provider IN (SELECT value FROM json_each(:provider))"


def _labels(labels: Mapping[str, str], values: dict[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(labels.items()):
        values[f"key{number}"], values[f"value{number}"] = key, value
        yield f"EXISTS (SELECT 1 FROM json_each(labels) WHERE key = :key{number} AND value = :value{number})"  # noqa: S608


def _long_names(provider: str) -> list[str]:
    return [provider, *(long for long, short in PROVIDERS.items() if short == provider)]


def _call(row: sqlite3.Row, once: Mapping[str, sqlite3.Row]) -> CallRow:
    counting = once.get(row["response_id"])
    tokens = counting is None or counting["with_tokens"] in {None, row["id"]}
    cost = counting is None or counting["with_cost"] in {None, row["id"]}
    return CallRow(
        ended_at=row["ended_at"],
        status=row["outcome"],
        event_type=row["event_type"],
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        latency_ms=row["latency_ms"],
        ttft_ms=row["ttft_ms"],
        input_tokens=row["input_tokens"] if tokens else None,
        output_tokens=row["output_tokens"] if tokens else None,
        cache_read_tokens=row["cache_read_tokens"] if tokens else None,
        cache_write_tokens=row["cache_write_tokens"] if tokens else None,
        reasoning_tokens=row["reasoning_tokens"] if tokens else None,
        cost=exact(row["cost_usd"]) if cost else None,
        retries=max((row["attempts"] or 1) - 1, 0),
        key_hash=row["key_hash"],
        user_id=row["user_id"],
        session_id=row["session_id"],
        project_id=row["project_id"],
        labels=msgspec.json.decode(row["labels"]) if row["labels"] else {},
        counted_elsewhere=not cost,
    )


def _bytes(event: str | bytes) -> bytes:
    return event.encode() if isinstance(event, str) else event
