"""
ClickHouse answers every usage query as SQLite does.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from otel_llm.usage.query import Query
from otel_llm.usage.summary import GROUPS, summarise
from tests.clickhouse.answers import CALLS, SUMMED, TIMED, calls, expected, usage

pytestmark = pytest.mark.slow


@pytest.fixture
def now():
    return datetime.now(UTC)


@pytest.mark.parametrize("by", [*GROUPS, "label.tenant_id", "label.nobody"])
def test_every_grouping(store, filled, now, by):
    """
    Counts, tokens, money to the last digit, and percentiles are the same, though records were delivered twice.
    """
    since, until = now - timedelta(days=1), now + timedelta(days=1)
    assert usage(filled.rows, by, since, until) == expected(store, by, since, until)


def test_a_part_of_the_time(store, filled):
    """
    Calls before and after are left out, and what was counted before is not counted again.
    """
    ended = sorted(datetime.fromisoformat(f"{call.ended_at}+00:00") for call in store.calls(Query()))
    for since, until in ((ended[4], ended[20]), (ended[-2], ended[-1] + timedelta(seconds=1))):
        assert usage(filled.rows, "model", since, until) == expected(store, "model", since, until)


def test_the_calls_are_of_every_kind(store):
    """
    Nothing is compared that is not there.
    """
    groups, total = summarise(store.calls(Query()), "model")
    assert len(groups) >= 4
    assert all(getattr(total, name) for name in ("errors", "rate_limited", "retries", "unpriced", *SUMMED[:3], *TIMED))
    assert any(call.counted_elsewhere for call in store.calls(Query()))


def test_rows_are_those_of_sqlite(store, filled):
    """
    Each call is one row, with the ids that lead to its trace.
    """
    with store._connection() as connection:
        kept = calls(connection.execute(f"SELECT {CALLS} FROM llm_calls ORDER BY event_id"))
    assert calls(filled.rows(f"SELECT {CALLS} FROM otel.llm_calls FINAL ORDER BY event_id")) == kept


def test_hours_that_are_ready(store, filled):
    """
    The sums that are made every hour add up to the same, however often they were made.
    """
    for _ in range(2):
        filled.run("SYSTEM REFRESH VIEW otel.usage_by_hour_made")
        filled.run("SYSTEM WAIT VIEW otel.usage_by_hour_made")
    (made,) = filled.rows(
        "SELECT sum(calls) AS calls, sum(errors) AS errors, sum(rate_limited) AS rate_limited, sum(retries) AS retries,"
        " sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost,"
        " quantilesTDigestMerge(0.5, 0.95, 0.99)(latency)[2] AS p95 FROM otel.usage_by_hour FINAL"
    )
    _, total = summarise(store.calls(Query()))
    names = ("calls", "errors", "rate_limited", "retries", "input_tokens", "output_tokens")
    assert {name: made[name] for name in names} == {name: getattr(total, name) for name in names}
    assert Decimal(made["cost"]) == total.cost
    assert made["p95"] == pytest.approx(total.p95_ms, rel=0.2, abs=5)
