"""
Reads JSONL stores: usage entries, one file per UTC date, in the folders `usage` and `errors`.

A failed call may stand in both folders and is read once. Lines of other writers are read as far as they have the same
fields; a line that is no entry (the last one may be half-written) is passed over and counted in `unreadable`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from otel_llm.errors import StoreError
from otel_llm.formats.facts import PROVIDERS
from otel_llm.usage.query import CallRow, Query, as_text, exact


class _Tokens(Struct, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Cost(Struct, rename="camel"):
    total_cost: float | None = None


class _Metrics(Struct, rename="camel"):
    duration_ms: float | None = None
    ttft_ms: float | None = None


class _Entry(Struct, rename="camel"):
    timestamp: datetime
    id: str = ""
    event_id: str = ""
    response_id: str | None = None
    request_type: str | None = None
    requested_model: str | None = None
    actual_model: str | None = None
    model: str | None = None
    actual_provider: str | None = None
    provider: str | None = None
    usage: _Tokens = msgspec.field(default_factory=_Tokens)
    cost: _Cost = msgspec.field(default_factory=_Cost)
    metrics: _Metrics = msgspec.field(default_factory=_Metrics)
    success: bool | None = None
    status: str | None = None
    event_type: str = "api_call"
    error_type: str | None = None
    retries: int = 0
    api_key: str | None = None
    api_key_hash: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    project_id: str | None = None
    labels: dict[str, str] = {}

    @property
    def outcome(self) -> str:
        """How the call ended; entries of other writers tell only whether it went well."""
        failed = self.success is False or self.error_type is not None
        return self.status or ("error" if failed else "success")


class JsonlStore:
    """
    The calls in one folder of JSONL stores; `unreadable` counts the lines that the last reading passed over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable = 0

    def calls(self, query: Query) -> Iterator[CallRow]:
        """
        Give the calls that fit, file by file; raises `StoreError` when there is no such folder.
        """
        fitting = (call for entry, call in _Counting().rows(self._entries(query)) if _fits(entry, call, query))
        if query.limit is None and not query.offset:
            return fitting
        latest = sorted(fitting, key=lambda call: call.ended_at, reverse=True)
        return islice(latest, query.offset, None if query.limit is None else query.offset + query.limit)

    def _entries(self, query: Query) -> Iterator[_Entry]:
        self.unreadable = 0
        for path in self._files(query):
            with path.open("rb") as lines:
                for line in lines:
                    entry = self._entry(line)
                    if entry is not None:
                        yield entry

    def _entry(self, line: bytes) -> _Entry | None:
        if not line.strip():
            return None
        try:
            return _decode(line)
        except msgspec.DecodeError:
            self.unreadable += 1
            return None

    def _files(self, query: Query) -> Iterator[Path]:
        if not self.folder.is_dir():
            raise StoreError(f"no records yet: the folder {self.folder} does not exist")
        first = _first_file(query.since)
        folders = [self.folder / name for name in ("usage", "errors") if (self.folder / name).is_dir()]
        for folder in folders or [self.folder]:
            yield from (path for path in sorted(folder.glob("????-??-??.jsonl")) if path.name >= first)


_decode = msgspec.json.Decoder(_Entry).decode


def _first_file(since: datetime | None) -> str:
    # A call may be filed on the day it began or on the day it was delivered, never on an earlier one.
    return "" if since is None else f"{since.astimezone(UTC) - timedelta(days=1):%Y-%m-%d}"


class _Counting:
    """
    Sees to it that an entry is one call, and that tokens and cost of a response id count once.
    """

    def __init__(self) -> None:
        self.entries: set[str] = set()
        self.with_tokens: set[str] = set()
        self.with_cost: set[str] = set()

    def rows(self, entries: Iterable[_Entry]) -> Iterator[tuple[_Entry, CallRow]]:
        unpriced = []
        for entry in entries:
            if not _is_new(entry.event_id or entry.id, self.entries):
                continue
            if entry.cost.total_cost is None and entry.response_id:
                unpriced.append(entry)  # a fetch further down may carry the cost
            else:
                yield entry, self.row(entry)
        yield from ((entry, self.row(entry)) for entry in unpriced)

    def row(self, entry: _Entry) -> CallRow:
        told_tokens = entry.usage.input_tokens is not None or entry.usage.output_tokens is not None
        told_cost = entry.cost.total_cost is not None
        known_cost = entry.response_id in self.with_cost
        return _call(
            entry,
            tokens=told_tokens and _is_new(entry.response_id, self.with_tokens),
            cost=told_cost and _is_new(entry.response_id, self.with_cost),
            counted_elsewhere=known_cost,
        )


def _is_new(name: str | None, known: set[str]) -> bool:
    if not name:
        return True
    if name in known:
        return False
    known.add(name)
    return True


def _call(entry: _Entry, *, tokens: bool, cost: bool, counted_elsewhere: bool) -> CallRow:
    usage = entry.usage if tokens else _Tokens()
    return CallRow(
        ended_at=_ended_at(entry),
        status=entry.outcome,
        event_type=entry.event_type,
        operation=entry.request_type,
        provider=entry.actual_provider or entry.provider,
        model=entry.requested_model or entry.actual_model or entry.model,
        latency_ms=_whole(entry.metrics.duration_ms),
        ttft_ms=_whole(entry.metrics.ttft_ms),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_creation_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost=exact(entry.cost.total_cost) if cost else None,
        retries=entry.retries,
        key_hash=entry.api_key_hash,
        user_id=entry.user_id,
        session_id=entry.session_id,
        project_id=entry.project_id,
        labels=entry.labels,
        counted_elsewhere=counted_elsewhere,
    )


def _ended_at(entry: _Entry) -> str:
    return as_text(entry.timestamp + timedelta(milliseconds=entry.metrics.duration_ms or 0))


def _whole(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)


def _fits(entry: _Entry, call: CallRow, query: Query) -> bool:
    return (
        _fits_time(call, query)
        and _fits_names(call, query)
        and query.model in {None, entry.requested_model, entry.actual_model, entry.model}
        and (query.key is None or query.key == entry.api_key or (entry.api_key_hash or "").startswith(query.key))
        and _has_labels(call.labels, query.labels)
    )


def _fits_time(call: CallRow, query: Query) -> bool:
    since = "" if query.since is None else as_text(query.since)
    return call.ended_at >= since and (query.until is None or call.ended_at < as_text(query.until))


def _fits_names(call: CallRow, query: Query) -> bool:
    return (
        query.status in {None, call.status}
        and query.success in {None, call.status == "success"}
        and query.user in {None, call.user_id}
        and query.session in {None, call.session_id}
        and query.project in {None, call.project_id}
        and (query.provider is None or call.provider in {query.provider, PROVIDERS.get(query.provider, query.provider)})
    )


def _has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())
