"""
A question to the table `llm_calls`, as SQL, and its rows as calls: the same for every database that has the table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from otel_llm.formats.facts import PROVIDERS
from otel_llm.usage.query import CallRow, Query, as_text, exact

Values = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """
    What a database writes in its own way.
    """

    mark: str
    """A bound value, by its name."""
    ended_at: str
    """The column, as text such as `2026-11-03 10:15:00.250`."""
    moment: str
    """Such a text, to compare the column with."""
    label: str
    """Whether a call has a label, by its key and value."""


_STATUS = "coalesce(status, CASE WHEN error_type IS NULL THEN 'success' ELSE 'error' END)"
"""Records of other instrumentations tell no status."""

_COLUMNS = f"""\
{_STATUS} AS outcome, id, event_type, operation, provider,
coalesce(request_model, response_model) AS model, latency_ms, ttft_ms,
input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, attempts,
key_hash, user_id, session_id, project_id, CAST(labels AS TEXT) AS labels, response_id"""

REPEATED = """\
SELECT response_id,
       min(CASE WHEN total_tokens IS NOT NULL THEN id END) AS with_tokens,
       min(CASE WHEN cost_usd IS NOT NULL THEN id END) AS with_cost
FROM llm_calls WHERE response_id IS NOT NULL GROUP BY response_id HAVING count(*) > 1"""
"""The response ids of several calls, with the calls that their tokens and their cost count for."""

_EQUAL = {
    "status": _STATUS,
    "user": "user_id",
    "session": "session_id",
    "project": "project_id",
}
"""Fields of a query that one value of the row answers."""

_ALL = 2**62


def selection(query: Query, dialect: Dialect) -> tuple[str, Values]:
    """
    Give the statement that answers a query, and the values that are bound in it.
    """
    conditions = _Conditions(dialect)
    terms = [*conditions.times(query), *conditions.names(query), *conditions.labels(query.labels)]
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    order = "" if query.limit is None and not query.offset else conditions.latest(query)
    columns = f"{dialect.ended_at} AS ended, {_COLUMNS}"
    return f"SELECT {columns} FROM llm_calls{where}{order}", conditions.values  # noqa: S608 - values are bound


class _Conditions:
    def __init__(self, dialect: Dialect) -> None:
        self.values: Values = {}
        self._dialect = dialect

    def times(self, query: Query) -> Iterator[str]:
        if query.since is not None:
            yield f"ended_at >= {self._dialect.moment.format(self._bound('since', as_text(query.since)))}"
        if query.until is not None:
            yield f"ended_at < {self._dialect.moment.format(self._bound('until', as_text(query.until)))}"

    def names(self, query: Query) -> Iterator[str]:
        for name, column in _EQUAL.items():
            if (value := getattr(query, name)) is not None:
                yield f"{column} = {self._bound(name, value)}"
        if query.success is not None:
            yield f"{_STATUS} {'=' if query.success else '<>'} 'success'"
        if query.model is not None:
            model = self._bound("model", query.model)
            yield f"(request_model = {model} OR response_model = {model})"
        if query.key is not None:
            key = self._bound("key", query.key)
            yield f"substr(key_hash, 1, length({key})) = {key}"
        if query.provider is not None:
            names = [self._bound(f"provider{number}", name) for number, name in enumerate(_long_names(query.provider))]
            yield f"provider IN ({', '.join(names)})"

    def labels(self, labels: Mapping[str, str]) -> Iterator[str]:
        for number, (key, value) in enumerate(labels.items()):
            bound = {"key": self._bound(f"key{number}", key), "value": self._bound(f"value{number}", value)}
            yield self._dialect.label.format(**bound)

    def latest(self, query: Query) -> str:
        limit = self._bound("limit", _ALL if query.limit is None else query.limit)
        return f" ORDER BY ended_at DESC, id DESC LIMIT {limit} OFFSET {self._bound('offset', query.offset)}"

    def _bound(self, name: str, value: object) -> str:
        self.values[name] = value
        return self._dialect.mark.format(name)


def _long_names(provider: str) -> list[str]:
    return [provider, *(long for long, short in PROVIDERS.items() if short == provider)]


def call(row: Any, once: Mapping[str, Any]) -> CallRow:
    """
    Give a row of a `selection` as a call; `once` holds the rows of `REPEATED` by response id.
    """
    counting = once.get(row["response_id"])
    tokens = counting is None or counting["with_tokens"] in {None, row["id"]}
    cost = counting is None or counting["with_cost"] in {None, row["id"]}
    return CallRow(
        ended_at=row["ended"],
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
