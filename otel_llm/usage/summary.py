"""
Sums over calls: what was spent, how fast it was and what went wrong.

Percentiles are nearest-rank (the smallest value that at least so many percent do not exceed) over the calls that
succeeded: a failure answers fast and would make a broken provider look quick.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from otel_llm.errors import Problem, SettingsError
from otel_llm.settings.conversion import listed, nearest
from otel_llm.usage.query import CallRow

REFUSED = frozenset({"error", "rate_limited"})
"""How calls end for which nobody is charged unless tokens were told."""


@dataclass(slots=True)
class Summary:
    """
    The sums of one group of calls; what no call told is None.
    """

    group: str | None
    calls: int = 0
    errors: int = 0
    """Calls that failed or timed out; rate-limited and cancelled ones are counted apart."""
    rate_limited: int = 0
    cancelled: int = 0
    retries: int = 0
    response_cache_hits: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    unpriced: int = 0
    """Calls that cost something nobody knows."""
    _latencies: "array[int]" = field(default_factory=lambda: array("q"), repr=False)
    _ttft_sum: int = field(default=0, repr=False)
    _ttft_count: int = field(default=0, repr=False)

    @property
    def cache_hit_ratio(self) -> float | None:
        """Which part of the input came from the provider's prompt cache; None when nobody told."""
        if not self.input_tokens or self.cache_read_tokens is None:
            return None
        return self.cache_read_tokens / self.input_tokens

    @property
    def p50_ms(self) -> int | None:
        """The median latency."""
        return nearest_rank(sorted(self._latencies), Fraction(1, 2))

    @property
    def p95_ms(self) -> int | None:
        """The latency that 95 of 100 calls do not exceed."""
        return nearest_rank(sorted(self._latencies), Fraction(95, 100))

    @property
    def ttft_ms(self) -> float | None:
        """The mean time to the first chunk, over the streams that told it."""
        return self._ttft_sum / self._ttft_count if self._ttft_count else None

    def add(self, call: CallRow) -> None:
        """
        Count one more call.
        """
        self.calls += 1
        self.retries += call.retries
        self.response_cache_hits += call.event_type == "cache_hit"
        self._add_outcome(call)
        self._add_tokens(call)
        self._add_cost(call)
        self._add_times(call)

    def _add_outcome(self, call: CallRow) -> None:
        self.errors += call.status in {"error", "timeout"}
        self.rate_limited += call.status == "rate_limited"
        self.cancelled += call.status == "cancelled"

    def _add_tokens(self, call: CallRow) -> None:
        self.input_tokens = _plus(self.input_tokens, call.input_tokens)
        self.output_tokens = _plus(self.output_tokens, call.output_tokens)
        self.cache_read_tokens = _plus(self.cache_read_tokens, call.cache_read_tokens)
        self.cache_write_tokens = _plus(self.cache_write_tokens, call.cache_write_tokens)
        self.reasoning_tokens = _plus(self.reasoning_tokens, call.reasoning_tokens)

    def _add_cost(self, call: CallRow) -> None:
        if call.cost is not None:
            self.cost = call.cost if self.cost is None else self.cost + call.cost
        elif _is_unpriced(call):
            self.unpriced += 1

    def _add_times(self, call: CallRow) -> None:
        if call.latency_ms is not None and call.status == "success":
            self._latencies.append(call.latency_ms)
        if call.ttft_ms is not None:
            self._ttft_sum += call.ttft_ms
            self._ttft_count += 1


def summarise(calls: Iterable[CallRow], by: str = "none") -> tuple[list[Summary], Summary]:
    """
    Give the sums of each group and of all calls; times in their order, all else by cost, the dearest first.

    `by` is one of `GROUPS` or `label.<key>`; raises `SettingsError` when it is neither.
    """
    group_of = grouping(by)
    groups: dict[str | None, Summary] = {}
    total = Summary(None)
    for call in calls:
        group = group_of(call)
        if group not in groups:
            groups[group] = Summary(group)
        groups[group].add(call)
        total.add(call)
    return sorted(groups.values(), key=_by_time if by in TIMES else _by_cost), total


GROUPS: dict[str, Callable[[CallRow], str | None]] = {
    "day": lambda call: call.ended_at[:10],
    "hour": lambda call: f"{call.ended_at[:13]}:00",
    "model": lambda call: call.model,
    "provider": lambda call: call.provider,
    "key": lambda call: call.key_hash[:12] if call.key_hash else None,
    "user": lambda call: call.user_id,
    "session": lambda call: call.session_id,
    "project": lambda call: call.project_id,
    "none": lambda _: None,
}
"""By what calls can be put together, besides `label.<key>`; days and hours are those of UTC."""

TIMES = frozenset({"day", "hour"})


def grouping(by: str) -> Callable[[CallRow], str | None]:
    """
    Give the function that names a call's group; raises `SettingsError` for a grouping nobody knows.
    """
    if by in GROUPS:
        return GROUPS[by]
    prefix, _, key = by.partition(".")
    if prefix == "label" and key:
        return lambda call: call.labels.get(key)
    expected = listed([*GROUPS, "label.<key>"])
    raise SettingsError([Problem("grouping", repr(by), expected, nearest(by, GROUPS))])


def nearest_rank(ordered: Sequence[int], part: Fraction) -> int | None:
    """
    Give the percentile of ascending values, always one of them; None of none.
    """
    return ordered[math.ceil(part * len(ordered)) - 1] if ordered else None


def _plus(so_far: int | None, more: int | None) -> int | None:
    if more is None:
        return so_far
    return more if so_far is None else so_far + more


def _is_unpriced(call: CallRow) -> bool:
    if call.counted_elsewhere or call.operation == "fetch_response":
        return False
    told_tokens = call.input_tokens is not None or call.output_tokens is not None
    return told_tokens or call.status not in REFUSED


def _by_time(summary: Summary) -> tuple[str]:
    return (summary.group or "",)


def _by_cost(summary: Summary) -> tuple[Decimal, int, str]:
    return (-(summary.cost or Decimal(0)), -summary.calls, summary.group or "")
