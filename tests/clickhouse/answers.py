"""
What ClickHouse and what SQLite say of the same calls.
"""

from datetime import UTC
from decimal import Decimal

from otel_llm.usage.query import Query
from otel_llm.usage.summary import summarise

PLAIN = "SETTINGS output_format_json_quote_decimals = 1, output_format_json_quote_64bit_integers = 0"
"""Gives numbers of 64 bits as numbers and decimals as text."""

COUNTED = ("calls", "errors", "rate_limited", "cancelled", "retries", "response_cache_hits", "unpriced")
SUMMED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
TIMED = ("p50_ms", "p95_ms", "ttft_ms")

CALLS = "event_id, operation, http_status, error_type, error_message, streaming, trace_id, span_id, request_id"
"""Columns of `llm_calls` that both write alike."""


def usage(rows, by, since, until, database="otel"):
    """
    Ask ClickHouse, by what gives the rows of a query; gives the fields by group.
    """
    asked = f"SELECT * FROM {database}.usage(by = '{by}', since = {_moment(since)}, until = {_moment(until)})"
    return {row["group"]: _of_clickhouse(row) for row in rows(asked)}


def expected(store, by, since, until):
    """
    Ask SQLite; gives the same.
    """
    groups, _ = summarise(store.calls(Query(since=since, until=until)), by)
    return {
        group.group: {name: getattr(group, name) for name in (*COUNTED, *SUMMED, *TIMED)} | {"cost": group.cost}
        for group in groups
    }


def calls(rows):
    """
    Give rows so that ClickHouse's empty texts and SQLite's missing ones are the same.
    """
    return [{name: value or None for name, value in dict(row).items()} for row in rows]


def _moment(text):
    return f"'{text.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{text.microsecond // 1000:03d}'"


def _of_clickhouse(row):
    told = {name: row[name] for name in (*COUNTED, *SUMMED, *TIMED)}
    return told | {"cost": None if row["cost"] is None else Decimal(row["cost"])}
