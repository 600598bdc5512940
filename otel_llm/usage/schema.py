"""
The table `llm_calls`: what a store of calls in SQL looks like, and how an event becomes a row.

Absent is NULL. The view `usage_metrics` has the columns of an older monitor, so that its queries and its clean-up line
(`DELETE FROM usage_metrics WHERE timestamp < …`) go on working.
"""

from collections.abc import Collection, Mapping
from itertools import chain
from math import isfinite
from typing import Any, Literal

import msgspec

from otel_llm.errors import StoreError
from otel_llm.formats.facts import milliseconds
from otel_llm.formats.moment import second
from otel_llm.telemetry.event import Event

Value = str | int | float | None
Kind = Literal["text", "integer", "real", "time", "json", "boolean"]
Columns = Mapping[str, tuple[Kind, str | None]]
"""Name and kind of every column, with the attribute that it holds as it is; None where a function works it out."""

COLUMNS: Columns = {
    "event_id": ("text", None),
    "recorded_at": ("time", None),
    "started_at": ("time", None),
    "ended_at": ("time", None),
    "service_name": ("text", None),
    "operation": ("text", "gen_ai.operation.name"),
    "provider": ("text", "gen_ai.provider.name"),
    "request_model": ("text", "gen_ai.request.model"),
    "response_model": ("text", "gen_ai.response.model"),
    "event_type": ("text", None),
    "status": ("text", "otel_llm.status"),
    "http_status": ("integer", "http.response.status_code"),
    "error_type": ("text", "error.type"),
    "error_message": ("text", None),
    "streaming": ("boolean", None),
    "latency_ms": ("integer", None),
    "ttft_ms": ("integer", None),
    "input_tokens": ("integer", "gen_ai.usage.input_tokens"),
    "output_tokens": ("integer", "gen_ai.usage.output_tokens"),
    "total_tokens": ("integer", None),
    "cache_read_tokens": ("integer", "gen_ai.usage.cache_read.input_tokens"),
    "cache_write_tokens": ("integer", None),
    "reasoning_tokens": ("integer", "gen_ai.usage.reasoning.output_tokens"),
    "usage_source": ("text", "otel_llm.usage_source"),
    "cost_usd": ("real", "gen_ai.usage.cost"),
    "cost_source": ("text", "otel_llm.cost.source"),
    "request_id": ("text", "otel_llm.request.id"),
    "response_id": ("text", "gen_ai.response.id"),
    "attempts": ("integer", "otel_llm.attempts"),
    "key_hash": ("text", "otel_llm.key.hash"),
    "user_id": ("text", "user.id"),
    "session_id": ("text", "session.id"),
    "project_id": ("text", "otel_llm.project.id"),
    "org_id": ("text", "otel_llm.org.id"),
    "labels": ("json", None),
    "trace_id": ("text", None),
    "span_id": ("text", None),
}
"""Every column of `llm_calls` but `id` and `event`, in the order of the table."""

DERIVED = (
    *("recorded_at", "started_at", "ended_at", "labels"),
    *("event_id", "service_name", "event_type", "error_message", "streaming", "latency_ms", "ttft_ms", "total_tokens"),
    *("cache_write_tokens", "trace_id", "span_id"),
)
"""The columns that `derived` works out, in its order."""


def derived(event: Event) -> tuple[Any, ...]:
    """
    Give what the columns `DERIVED` hold: times in Unix nanoseconds, durations in milliseconds, labels as a dictionary.
    """
    get = event.attributes.get
    read, written = get("gen_ai.usage.input_tokens"), get("gen_ai.usage.output_tokens")
    return (
        event.observed_ns,
        _started(event),
        event.timestamp_ns,
        event.labels or None,
        event.id,
        event.resource.attributes.get("service.name"),
        event.type,
        get("otel_llm.error.message") or get("exception.message"),
        bool(get("gen_ai.request.stream")),
        _whole_milliseconds(get("otel_llm.duration")),
        _whole_milliseconds(get("gen_ai.response.time_to_first_chunk")),
        None if read is None and written is None else (read or 0) + (written or 0),
        get("gen_ai.usage.cache_write.input_tokens", get("gen_ai.usage.cache_creation.input_tokens")),
        event.trace_id or None,
        event.span_id or None,
    )


def _started(event: Event) -> int:
    start = event.attributes.get("otel_llm.start_time_unix_nano")
    if isinstance(start, int):
        return start
    seconds = event.attributes.get("otel_llm.duration")
    return event.timestamp_ns - int(seconds * 1e9) if isinstance(seconds, int | float) else event.timestamp_ns


def _whole_milliseconds(seconds: object) -> int | None:
    return milliseconds(seconds) if isinstance(seconds, int | float) and isfinite(seconds) else None


INDEXED = ("ended_at", "response_model", "provider", "key_hash", "response_id")


def sqlite_time(nanoseconds: int) -> str:
    """
    Give a moment as SQLite's own functions do, in UTC: `YYYY-MM-DD HH:MM:SS.mmm`.
    """
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{second(seconds, ' ')}.{rest // 1_000_000:03d}"


def row(event: Event) -> tuple[Value, ...]:
    """
    Give an event as a row of `llm_calls` in SQLite, in the order of `ROW`.
    """
    recorded, started, ended, labels, *rest = derived(event)
    end = sqlite_time(ended)
    return (
        end if recorded == ended else sqlite_time(recorded),
        sqlite_time(started),
        end,
        None if labels is None else msgspec.json.encode(labels).decode(),
        *rest,
        *map(event.attributes.get, _ATTRIBUTES),
    )


_COPIED = {name: attribute for name, (_, attribute) in COLUMNS.items() if attribute is not None}
_ATTRIBUTES = tuple(_COPIED.values())

ROW = (*DERIVED, *_COPIED)
"""The columns in the order in which `row` fills them: attributes are copied all at once."""

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

USAGE_METRICS = """SELECT
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
    recorded_at AS created_at"""
"""What the view `usage_metrics` shows of a call, in SQLite and in PostgreSQL."""

VIEW = f"CREATE VIEW IF NOT EXISTS usage_metrics AS {USAGE_METRICS} FROM llm_calls"

SQLITE_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS usage_metrics_delete INSTEAD OF DELETE ON usage_metrics
BEGIN
    DELETE FROM llm_calls WHERE id = OLD.id;
END"""

_PARTS = {
    "llm_calls": [SQLITE_TABLE],
    **{f"llm_calls_{name}": [f"CREATE INDEX IF NOT EXISTS llm_calls_{name} ON llm_calls ({name})"] for name in INDEXED},
    "usage_metrics": [VIEW, SQLITE_TRIGGER],
}

SQLITE_SCHEMA = tuple(chain.from_iterable(_PARTS.values()))
"""The statements that make the tables, in order; each may be run again."""

SQLITE_PARTS = "SELECT name FROM sqlite_master"
SQLITE_COLUMNS = "SELECT name FROM pragma_table_info('llm_calls')"

_IN_EVERY_VERSION = ("id", "event_id", "ended_at", "event")


def lacking(columns: Collection[str], path: object) -> list[str]:
    """
    Give the columns that a table `llm_calls` does not have yet; raises `StoreError` when it is somebody else's.
    """
    for name in _IN_EVERY_VERSION:
        if name not in columns:
            raise StoreError(f"the table llm_calls in {path} is another's: it has no column {name}")
    return [name for name in COLUMNS if name not in columns]


def sqlite_additions(parts: Collection[str], columns: Collection[str], path: object) -> list[str]:
    """
    Give the statements that make what a file lacks; what is there stays, be it of a newer version.
    """
    made = [statement for name, statements in _PARTS.items() if name not in parts for statement in statements]
    added = lacking(columns, path) if "llm_calls" in parts else []
    # Without the rules of a new table: old rows have nothing to put there.
    types = {name: _SQLITE_TYPES[COLUMNS[name][0]] for name in added}
    return [*(f"ALTER TABLE llm_calls ADD COLUMN {name} {kind}" for name, kind in types.items()), *made]


SQLITE_INSERT = (
    f"INSERT INTO llm_calls ({', '.join(ROW)}, event) "  # noqa: S608 - the names are ours
    f"VALUES ({', '.join('?' * (len(ROW) + 1))}) ON CONFLICT(event_id) DO NOTHING"
)
