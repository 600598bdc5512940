"""The rules by which the seed formats read an event."""

import json
import math
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.errors import SettingsError
from otel_llm.formats import FORMATS, find
from otel_llm.formats.facts import milliseconds


def analytics(event):
    return json.loads(FORMATS["analytics"].encode(event))


def metadata(event):
    return json.loads(FORMATS["gateway_log"].encode(event))["attributes"]["metadata"]


def usage(event):
    return json.loads(FORMATS["usage"].encode(event))


class TestDurations:
    @given(st.integers(0, 10**15))
    def test_half_a_millisecond_is_rounded_up(self, ns):
        """
        Durations in nanoseconds, told in float seconds, are rounded half up to whole milliseconds.
        """
        exact = (Decimal(ns) / 1_000_000).to_integral_value(ROUND_HALF_UP)
        assert exact == milliseconds(ns / 1_000_000_000)

    @pytest.mark.parametrize(
        ("seconds", "ms"), [(0.0004999, 0), (0.0005, 1), (1.0005, 1001), (0.0025, 3), (1.0035, 1004)]
    )
    def test_known_halves(self, seconds, ms):
        """
        Neither binary fractions nor rounding to even move a half down.
        """
        assert ms == milliseconds(seconds)

    def test_all_three_formats_tell_the_same(self, make_event):
        """
        The three names of the duration hold the same number.
        """
        event = make_event({"otel_llm.duration": 0.0125})
        told = (analytics(event)["latency_ms"], metadata(event)["latency"], usage(event)["metrics"]["durationMs"])
        assert told == (13, 13, 13)

    @pytest.mark.parametrize("seconds", [-1.0, float("inf"), 1e300, "1.5", True])
    def test_what_no_call_can_last_is_no_duration(self, seconds, make_event):
        """
        A foreign record's negative, endless or garbled duration is unknown, not an error.
        """
        assert analytics(make_event({"otel_llm.duration": seconds}))["latency_ms"] is None


class TestEventTypes:
    @pytest.mark.parametrize(
        ("attributes", "kind"),
        [
            ({}, "api_call"),
            ({"otel_llm.cache.hit": True}, "cache_hit"),
            ({"error.type": "timeout"}, "error"),
            ({"error.type": "timeout", "otel_llm.cache.hit": True}, "error"),
            ({"error.type": "429", "http.response.status_code": 429}, "rate_limit"),
            ({"otel_llm.event.type": "cache_hit", "error.type": "x"}, "cache_hit"),
        ],
    )
    def test_type_is_told_or_derived(self, attributes, kind, make_event):
        """
        A record that does not tell its type is a rate limit, an error, a cache hit or a call, the first that holds.
        """
        assert kind == analytics(make_event(attributes))["event_type"]

    @pytest.mark.parametrize("status", ["error", "rate_limited", "cancelled", "timeout"])
    def test_every_failure_is_an_error_to_the_seeds(self, status, make_event):
        """
        The seeds know two outcomes only.
        """
        event = make_event({"otel_llm.status": status})
        told = (analytics(event)["status"], metadata(event)["status"], usage(event)["success"])
        assert told == ("error", "error", False)


class TestMoney:
    def test_unknown_cost_is_not_zero(self, make_event):
        """
        Where no price was found, no format says 0.
        """
        event = make_event({"otel_llm.cost.unknown_reason": "no price"})
        assert "cost_usd" not in analytics(event)
        assert (metadata(event)["cost"], usage(event)["cost"]["totalCost"]) == (None, None)

    def test_a_free_call_costs_zero(self, make_event):
        """
        A price of 0 stays 0.
        """
        event = make_event({"gen_ai.usage.cost": 0.0})
        told = (analytics(event)["cost_usd"], metadata(event)["cost"], usage(event)["cost"]["totalCost"])
        assert told == (0.0, 0.0, 0.0)

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            ("operator", "config"),
            ("book", "config"),
            ("estimate", "estimated"),
            ("openrouter", "openrouter"),
            ("provider", "provider"),
        ],
    )
    def test_source_in_the_words_of_the_usage_entry(self, ours, theirs, make_event):
        """
        Operator and book prices are `config`, an estimate is `estimated`.
        """
        assert theirs == usage(make_event({"otel_llm.cost.source": ours}))["cost"]["source"]


class TestStreams:
    def test_no_first_token_without_a_stream(self, make_event):
        """
        A first chunk told for an answer that was no stream is not passed on.
        """
        event = make_event({"gen_ai.response.time_to_first_chunk": 0.5})
        assert (analytics(event)["time_to_first_token"], usage(event)["metrics"]["ttftMs"]) == (None, None)

    def test_speed_counts_from_the_first_chunk(self, make_event):
        """
        Tokens per second are output over the time from the first chunk to the end.
        """
        event = make_event(
            {
                "gen_ai.request.stream": True,
                "gen_ai.response.time_to_first_chunk": 0.5,
                "otel_llm.duration": 2.5,
                "gen_ai.usage.output_tokens": 100,
            }
        )
        assert usage(event)["metrics"]["tokensPerSecond"] == 50.0


class TestTokens:
    def test_unknown_tokens_are_not_zero(self, make_event):
        """
        A provider that told no usage leaves the counts null, one that told 0 leaves them 0.
        """
        told = analytics(make_event({"gen_ai.usage.output_tokens": 0}))
        assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (None, 0, 0)

    def test_old_name_of_cache_writes_is_read(self, make_event):
        """
        A record of an instrumentation from before the renaming tells its cache writes too.
        """
        event = make_event({"gen_ai.usage.cache_creation.input_tokens": 7})
        assert analytics(event)["cache_creation_input_tokens"] == 7


class TestOddAttributes:
    @pytest.mark.parametrize(
        "odd",
        [
            {"client.address": ""},
            {"client.address": 7},
            {"gen_ai.usage.output_tokens": True},
            {"gen_ai.usage.output_tokens": "7"},
            {"otel_llm.cost.input": math.nan},
            {"otel_llm.cost.input": math.inf},
        ],
    )
    def test_is_unknown_and_takes_no_other_with_it(self, odd, make_event):
        """
        An attribute of an odd type or without a value is null; what stands beside it is told.
        """
        good = {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3, "gen_ai.usage.cost": 2}
        entry = usage(make_event(good | odd))
        odd_ones = (entry["clientIp"], entry["usage"]["outputTokens"], entry["cost"]["inputCost"])
        told = (entry["requestedModel"], entry["usage"]["inputTokens"], entry["cost"]["totalCost"])
        assert (odd_ones, told) == ((None, None, None), ("m", 3, 2.0))


class TestErrors:
    def test_provider_errors_count_retries_and_the_last_answer(self, make_event):
        """
        Two retries and a final 503 are three errors on the provider's side, one on the caller's.
        """
        attributes = {"otel_llm.attempts": 3, "http.response.status_code": 503, "otel_llm.status": "error"}
        told = metadata(make_event(attributes))
        assert (told["provider_error_count"], told["error_count"]) == (3, 1)

    def test_a_lost_connection_is_not_the_providers_error(self, make_event):
        """
        Where the provider gave no answer its error type is null and its status code 0.
        """
        told = metadata(make_event({"otel_llm.status": "error", "error.type": "httpx.ConnectError"}))
        assert (
            told["provider_error_type"],
            told["provider_status_code"],
            told["error_type"],
        ) == (None, 0, "httpx.ConnectError")


class TestRequestIds:
    def test_an_event_id_is_no_provider_request_id(self, make_event):
        """
        Where the provider gave no request id, our own id is not passed off as one.
        """
        assert metadata(make_event({"otel_llm.request.id": "e1"}))["provider_request_id"] is None


class TestContent:
    def test_conversation_is_null_unless_captured(self, make_event):
        """
        Request parameters alone are no conversation.
        """
        document = json.loads(FORMATS["gateway_log"].encode(make_event({"gen_ai.request.model": "gpt-4o"})))
        assert (document["attributes"]["request"], document["attributes"]["response"]) == (None, None)

    @pytest.mark.parametrize("format_name", ["analytics", "usage"])
    def test_flat_formats_never_carry_content(self, format_name, events):
        """
        A captured prompt does not reach the formats that have no place for it.
        """
        assert b"Hello" not in FORMATS[format_name].encode(events["conversation"])


class TestFind:
    def test_a_format_is_found_by_its_name(self):
        """
        Each format is there under its own name.
        """
        assert list(FORMATS) == [find(name).name for name in FORMATS]

    def test_a_wrong_name_is_told_with_the_nearest(self):
        """
        The error says where the name stood, what is known and which was probably meant.
        """
        with pytest.raises(SettingsError, match=r"sinks\.kafka\.format: found 'analytic'.*did you mean 'analytics'"):
            find("analytic", where="sinks.kafka.format")
