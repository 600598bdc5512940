"""
The table `llm_calls`: what a store of calls in SQL looks like, and how an event becomes a row.

Absent is NULL. The view `usage_metrics` has the columns of an older monitor, so that its queries and its clean-up line
(`DELETE FROM usage_metrics WHERE timestamp < …`) go on working.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from otel_llm.telemetry.event import Event

Value = str | int | float | None
Kind = Literal["text", "integer", "real", "time", "json", "boolean"]

_A = "otel_llm."
_Read = Callable[[Event], Any]


def _attribute(*names: str) -> _Read:
    """
    Read the first of these attributes that is there.
    """
    if len(names) == 1:
        name = names[0]
        return lambda event: event.attributes.get(name)
    return lambda event: next((value for name in names if (value := event.attributes.get(name)) is not None), None)


def _milliseconds(name: str) -> _Read:
    def read(event: Event) -> int | None:
        seconds = event.attributes.get(name)
        return int(seconds * 1000 + 0.5) if isinstance(seconds, int | float) else None

    return read


def _started(event: Event) -> int:
    start = event.attributes.get(f"{_A}start_time_unix_nano")
    if isinstance(start, int):
        return start
    seconds = event.attributes.get(f"{_A}duration") or 0
    return event.timestamp_ns - int(seconds * 1e9)


def _total(event: Event) -> int | None:
    read, written = event.get("gen_ai.usage.input_tokens"), event.get("gen_ai.usage.output_tokens")
    return None if read is None and written is None else (read or 0) + (written or 0)


def _labels(event: Event) -> dict[str, str] | None:
    return event.labels or None


COLUMNS: dict[str, tuple[Kind, _Read]] = {
    "event_id": ("text", lambda event: event.id),
    "recorded_at": ("time", lambda event: event.observed_ns),
    "started_at": ("time", _started),
    "ended_at": ("time", lambda event: event.timestamp_ns),
    "service_name": ("text", lambda event: event.resource.attributes.get("service.name")),
    "operation": ("text", _attribute("gen_ai.operation.name")),
    "provider": ("text", _attribute("gen_ai.provider.name")),
    "request_model": ("text", _attribute("gen_ai.request.model")),
    "response_model": ("text", _attribute("gen_ai.response.model")),
    "event_type": ("text", lambda event: event.type),
    "status": ("text", _attribute(f"{_A}status")),
    "http_status": ("integer", _attribute("http.response.status_code")),
    "error_type": ("text", _attribute("error.type")),
    "error_message": ("text", _attribute(f"{_A}error.message", "exception.message")),
    "streaming": ("boolean", lambda event: bool(event.attributes.get("gen_ai.request.stream"))),
    "latency_ms": ("integer", _milliseconds(f"{_A}duration")),
    "ttft_ms": ("integer", _milliseconds("gen_ai.response.time_to_first_chunk")),
    "input_tokens": ("integer", _attribute("gen_ai.usage.input_tokens")),
    "output_tokens": ("integer", _attribute("gen_ai.usage.output_tokens")),
    "total_tokens": ("integer", _total),
    "cache_read_tokens": ("integer", _attribute("gen_ai.usage.cache_read.input_tokens")),
    "cache_write_tokens": (
        "integer",
        _attribute("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ),
    "reasoning_tokens": ("integer", _attribute("gen_ai.usage.reasoning.output_tokens")),
    "usage_source": ("text", _attribute(f"{_A}usage_source")),
    "cost_usd": ("real", _attribute("gen_ai.usage.cost")),
    "cost_source": ("text", _attribute(f"{_A}cost.source")),
    "request_id": ("text", _attribute(f"{_A}request.id")),
    "response_id": ("text", _attribute("gen_ai.response.id")),
    "attempts": ("integer", _attribute(f"{_A}attempts")),
    "key_hash": ("text", _attribute(f"{_A}key.hash")),
    "user_id": ("text", _attribute("user.id")),
    "session_id": ("text", _attribute("session.id")),
    "project_id": ("text", _attribute(f"{_A}project.id")),
    "org_id": ("text", _attribute(f"{_A}org.id")),
    "labels": ("json", _labels),
    "trace_id": ("text", lambda event: event.trace_id or None),
    "span_id": ("text", lambda event: event.span_id or None),
}
"""Name, kind and origin of every column of `llm_calls` but `id` and `event`."""

INDEXED = ("ended_at", "response_model", "provider", "key_hash", "response_id")

Adapt = Callable[[Any], Value]


def sqlite_time(nanoseconds: int) -> str:
    """
    Give a moment as SQLite's own functions do, in UTC: `YYYY-MM-DD HH:MM:SS.mmm`.
    """
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds // 1_000_000 % 1000:03d}"


def row(event: Event) -> tuple[Value, ...]:
    """
    Give an event as a row of `llm_calls` in SQLite, in the order of `COLUMNS`.
    """
    return tuple([value if (value := read(event)) is None or adapt is None else adapt(value) for read, adapt in _READS])


_ADAPTERS: dict[Kind, Adapt] = {
    "time": sqlite_time,
    "json": lambda value: msgspec.json.encode(value).decode(),
    "boolean": int,
}
_READS = [(read, _ADAPTERS.get(kind)) for kind, read in COLUMNS.values()]
_SQLITE_TYPES: dict[Kind, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "time": "TEXT",
    "json": "TEXT",
    "boolean": "INTEGER",
}


def _sqlite_column(name: str, kind: Kind) -> str:
    rule = {"event_id": " NOT NULL UNIQUE", "recorded_at": " NOT NULL", "ended_at": " NOT NULL"}.get(name, "")
    return f"    {name} {_SQLITE_TYPES[kind]}{rule}"


_COLUMN_LINES = ",\n".join(_sqlite_column(name, kind) for name, (kind, _) in COLUMNS.items())

SQLITE_TABLE = f"""
CREATE TABLE IF NOT EXISTS llm_calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
{_COLUMN_LINES},
    event TEXT NOT NULL
)"""

INDEXES = tuple(f"CREATE INDEX IF NOT EXISTS llm_calls_{name} ON llm_calls ({name})" for name in INDEXED)

VIEW = """
CREATE VIEW IF NOT EXISTS usage_metrics AS SELECT
    id,
    ended_at AS timestamp,
    coalesce(response_model, request_model, 'unknown') AS model,
    input_tokens AS prompt_tokens,
    output_tokens AS completion_tokens,
    total_tokens,
    coalesce(response_id, request_id) AS request_id,
    CAST(http_status AS TEXT) AS status,
    latency_ms,
    key_hash AS api_key_hash,
    recorded_at AS created_at
FROM llm_calls"""

SQLITE_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS usage_metrics_delete INSTEAD OF DELETE ON usage_metrics
BEGIN
    DELETE FROM llm_calls WHERE id = OLD.id;
END"""

SQLITE_SCHEMA = (SQLITE_TABLE, *INDEXES, VIEW, SQLITE_TRIGGER)
"""The statements that make the tables, in order; each may be run again."""

SQLITE_INSERT = (
    f"INSERT INTO llm_calls ({', '.join(COLUMNS)}, event) "  # noqa: S608 - the names are ours
    f"VALUES ({', '.join('?' * (len(COLUMNS) + 1))}) ON CONFLICT(event_id) DO NOTHING"
)
