"""
A question to a store of calls, and the rows that answer it.

`SqliteStore`, `PostgresStore` and `JsonlStore` give `CallRow`s for a `Query`; `summary.summarise` puts them together,
so that all kinds of store give the same sums.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from msgspec import Struct


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """
    Which calls are asked for; what is None does not matter.
    """

    since: datetime | None = None
    """Calls completed at this aware moment or later."""
    until: datetime | None = None
    """Calls completed before this aware moment."""
    provider: str | None = None
    """A `gen_ai.provider.name` value or its short name."""
    model: str | None = None
    """The requested or the answering model."""
    key: str | None = None
    """The beginning of the key's SHA-256; in a JSONL store also the key's name."""
    status: str | None = None
    """`success`, `error`, `rate_limited`, `cancelled` or `timeout`."""
    success: bool | None = None
    user: str | None = None
    session: str | None = None
    project: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    """At most so many calls, the latest ones."""
    offset: int = 0
    """How many of the latest calls are passed over first."""


class CallRow(Struct, frozen=True):
    """
    One call as a store keeps it.

    A fetched answer shares its response id with the call that created it. Tokens and cost of a response id count once:
    in the later rows they are None and `counted_elsewhere` is true.
    """

    ended_at: str
    """When the call was completed, UTC, `2026-11-03 10:15:00.250`."""
    status: str
    event_type: str = "api_call"
    operation: str | None = None
    provider: str | None = None
    model: str | None = None
    """The requested model, so that failed calls stand beside answered ones; else the answering one."""
    latency_ms: int | None = None
    ttft_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    retries: int = 0
    key_hash: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    project_id: str | None = None
    labels: Mapping[str, str] = {}
    counted_elsewhere: bool = False


class Store(Protocol):
    """
    Where calls are kept.
    """

    def calls(self, query: Query) -> Iterator[CallRow]:
        """
        Give the calls that fit; raises `StoreError` when the store is missing or unreadable.
        """


def as_text(moment: datetime) -> str:
    """
    Give a moment as rows write it, so that text compares as time does.
    """
    return moment.astimezone(UTC).isoformat(" ", "milliseconds")[:23]


def exact(amount: float | Decimal | None) -> Decimal | None:
    """
    Give the decimal that was meant by a stored double: the shortest that reads back as the same.
    """
    return None if amount is None else Decimal(repr(float(amount)))
