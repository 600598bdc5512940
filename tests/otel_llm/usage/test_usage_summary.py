"""Sums over calls."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.errors import SettingsError
from otel_llm.usage.query import CallRow, exact
from otel_llm.usage.summary import nearest_rank, summarise


def call(ended_at="2026-11-03 10:15:00.250", status="success", **facts):
    return CallRow(ended_at, status, **facts)


def total(*calls):
    return summarise(calls)[1]


class TestPercentiles:
    @pytest.mark.parametrize(
        ("values", "p50", "p95"),
        [
            ([], None, None),
            ([7], 7, 7),
            ([1, 2], 1, 2),
            ([15, 20, 35, 40, 50], 35, 50),
            (list(range(1, 21)), 10, 19),
            (list(range(1, 101)), 50, 95),
        ],
    )
    def test_known_vectors(self, values, p50, p95):
        """
        The nearest rank is ceil(part x count), counted from one.
        """
        assert (nearest_rank(values, Fraction(1, 2)), nearest_rank(values, Fraction(95, 100))) == (p50, p95)

    @given(st.lists(st.integers(0, 1000), min_size=1), st.fractions(Fraction(1, 100), 1))
    def test_enough_values_do_not_exceed_it(self, values, part):
        """
        At least the asked part of the values is at or below the percentile, and it is one of them.
        """
        rank = nearest_rank(sorted(values), part)
        assert rank in values
        assert sum(value <= rank for value in values) >= part * len(values)

    def test_failures_do_not_make_a_provider_look_fast(self):
        """
        Latencies of calls that did not succeed are left out.
        """
        assert total(call(latency_ms=900), call(status="error", latency_ms=3)).p50_ms == 900


class TestMoney:
    def test_a_million_small_amounts_add_up_exactly(self):
        """
        Sums of stored doubles have no rounding error: 10,000 x 0.1 is 1,000.
        """
        summary = total(*(call(cost=exact(0.1)) for _ in range(10_000)))
        assert summary.cost == Decimal(1000)

    def test_amounts_below_a_millionth_survive(self):
        """
        A ten-millionth of a dollar is not rounded away.
        """
        assert total(call(cost=exact(1.5e-07)), call(cost=exact(2.0))).cost == Decimal("2.00000015")

    def test_cost_is_unknown_while_no_call_has_one(self):
        """
        A group without any known cost has none, and says how many calls miss it.
        """
        summary = total(call(), call(input_tokens=5))
        assert (summary.cost, summary.unpriced) == (None, 2)

    def test_a_free_call_has_a_cost(self):
        """
        0 is a price.
        """
        summary = total(call(cost=exact(0.0)))
        assert (summary.cost, summary.unpriced) == (Decimal(0), 0)

    @pytest.mark.parametrize("status", ["error", "rate_limited"])
    def test_a_refused_call_is_not_missing_a_price(self, status):
        """
        What a provider refused without telling tokens costs nothing that somebody would have to know.
        """
        assert total(call(status=status)).unpriced == 0

    def test_an_abandoned_stream_is_missing_a_price(self):
        """
        A cancelled call was paid for, in an amount nobody knows.
        """
        assert total(call(status="cancelled")).unpriced == 1


class TestTokens:
    def test_absent_counts_stay_absent(self):
        """
        Counts that no call told are None, those told as 0 are 0.
        """
        summary = total(call(input_tokens=10, cache_read_tokens=0), call())
        assert (summary.input_tokens, summary.cache_read_tokens, summary.output_tokens) == (10, 0, None)

    def test_cache_hit_ratio_is_read_tokens_over_all_input(self):
        """
        300 of 400 input tokens read from the prompt cache are three quarters.
        """
        calls = call(input_tokens=300, cache_read_tokens=300), call(input_tokens=100, cache_read_tokens=0)
        assert total(*calls).cache_hit_ratio == 0.75

    def test_cache_hit_ratio_is_unknown_without_counts(self):
        """
        A provider that tells nothing about its cache has no ratio.
        """
        assert total(call(input_tokens=300)).cache_hit_ratio is None


def test_outcomes_are_counted_apart():
    """
    Timeouts are errors, rate-limited and cancelled calls are neither errors nor successes.
    """
    statuses = "success", "error", "timeout", "rate_limited", "cancelled"
    summary = total(*(call(status=status) for status in statuses))
    assert (summary.calls, summary.errors, summary.rate_limited, summary.cancelled) == (5, 2, 1, 1)


def test_first_chunk_is_averaged_over_streams():
    """
    Calls that were no streams do not count in the mean time to the first chunk.
    """
    assert total(call(ttft_ms=100), call(ttft_ms=201), call()).ttft_ms == 150.5


class TestGroups:
    @pytest.mark.parametrize(
        ("by", "names"),
        [
            ("day", ["2026-11-03", "2026-11-04"]),
            ("hour", ["2026-11-03 10:00", "2026-11-04 23:00"]),
            ("model", ["gpt-4o", "claude-sonnet-4-5"]),
            ("user", ["u-1", None]),
            ("label.tenant", ["t2", "t1"]),
            ("none", [None]),
        ],
    )
    def test_calls_are_put_together(self, by, names):
        """
        Times come in their order, all else by cost; a call that lacks the fact is in the group None.
        """
        calls = [
            call("2026-11-04 23:59:59.999", model="claude-sonnet-4-5", cost=exact(0.001), labels={"tenant": "t1"}),
            call(model="gpt-4o", cost=exact(0.002), user_id="u-1", labels={"tenant": "t2"}),
        ]
        assert [summary.group for summary in summarise(calls, by)[0]] == names

    def test_total_is_the_sum_of_the_groups(self):
        """
        Nothing is counted in the total that no group has.
        """
        groups, all_calls = summarise([call(model=name, cost=exact(0.3)) for name in "aab"], "model")
        assert sum(group.cost for group in groups) == all_calls.cost == Decimal("0.9")

    def test_a_wrong_grouping_is_told_with_the_nearest(self):
        """
        The error names what was found and what was probably meant.
        """
        with pytest.raises(SettingsError, match=r"grouping: found 'modle'.*did you mean 'model'"):
            summarise([], "modle")
