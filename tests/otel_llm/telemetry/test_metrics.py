import json
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_llm.call import Failure, Usage
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.account import Bill
from otel_llm.telemetry.metrics import Metrics
from otel_llm.telemetry.semconv import DURATION_BUCKETS, TOKEN_BUCKETS

SEMCONV = Path(__file__).parents[4] / "shared" / "semconv" / "gen_ai.json"
UNKNOWN = Cost.unknown("nobody knows")
INPUT = "gen_ai.client.inference.usage.input_tokens"


class Measured:
    """
    Metrics on a meter of their own, and what they measured.
    """

    def __init__(self, **options):
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        self.metrics = Metrics(self._provider.get_meter("test"), **options)

    def record(self, call, cost=UNKNOWN):
        self.metrics.record(Bill(lambda: call, lambda _call: cost))
        return self

    @property
    def points(self):
        """Each metric's data points, by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points) for metric in data.resource_metrics[0].scope_metrics[0].metrics
        }

    def tokens(self, name, attribute):
        """
        Give the sums of a token metric by one attribute.
        """
        return {point.attributes[attribute]: _amount(point) for point in self.points.get(name, ())}


def _amount(point):
    return point.sum if hasattr(point, "sum") else point.value


@pytest.fixture(params=["released", "next"])
def names(request):
    return request.param


@pytest.mark.skipif(not SEMCONV.exists(), reason="the conventions' data is not beside the project")
def test_buckets_are_the_advised_ones():
    """
    Our boundaries are those of the conventions.
    """
    metrics = json.loads(SEMCONV.read_text())["metrics"]
    assert tuple(metrics["gen_ai.client.inference.duration"]["buckets"]) == DURATION_BUCKETS
    assert tuple(metrics["gen_ai.client.inference.operation.input_tokens"]["buckets"]) == TOKEN_BUCKETS


class TestReleasedNames:
    def test_a_stream(self, full_call, full_cost):
        """
        A priced stream is one point on each of six metrics, tokens by type; cached ones, a part of them, apart.
        """
        points = Measured().record(full_call, full_cost).points
        assert {name: len(found) for name, found in points.items()} == {
            "gen_ai.client.operation.duration": 1,
            "gen_ai.client.operation.time_to_first_chunk": 1,
            "gen_ai.client.operation.time_per_output_chunk": 1,
            "gen_ai.client.token.usage": 2,
            "otel_llm.cache_read.input_tokens": 1,
            "otel_llm.cost": 1,
        }
        assert points["otel_llm.cache_read.input_tokens"][0].value == full_call.usage.cache_read_tokens
        assert points["gen_ai.client.operation.duration"][0].sum == 2.0
        assert points["gen_ai.client.operation.time_to_first_chunk"][0].sum == 0.5
        assert points["gen_ai.client.operation.time_per_output_chunk"][0].sum == 0.02
        assert points["otel_llm.cost"][0].value == 0.055

    def test_tokens_by_type(self, make_call):
        """
        Totals are recorded; a count that was not told is not recorded as 0, a told 0 is.
        """
        measured = Measured().record(make_call(usage=Usage(input_tokens=0)))
        assert measured.tokens("gen_ai.client.token.usage", "gen_ai.token.type") == {"input": 0}

    def test_attributes(self, full_call):
        """
        Metrics carry what the conventions list, no ids and no users.
        """
        assert dict(Measured().record(full_call).points["gen_ai.client.operation.duration"][0].attributes) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "server.address": "api.openai.com",
            "server.port": 443,
        }


class TestNextNames:
    def test_a_stream(self, full_call, full_cost):
        """
        Tokens are counters by modality and histograms by call.
        """
        assert Measured(names="next").record(full_call, full_cost).points.keys() == {
            "gen_ai.client.inference.duration",
            "gen_ai.client.inference.time_to_first_chunk",
            "gen_ai.client.inference.time_per_output_chunk",
            "gen_ai.client.inference.usage.input_tokens",
            "gen_ai.client.inference.usage.output_tokens",
            "gen_ai.client.inference.usage.cache_read.input_tokens",
            "gen_ai.client.inference.usage.cache_write.input_tokens",
            "gen_ai.client.inference.usage.reasoning.output_tokens",
            "gen_ai.client.inference.operation.input_tokens",
            "gen_ai.client.inference.operation.output_tokens",
            "otel_llm.cost",
        }

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            (Usage(input_tokens=100), {"unknown": 100}),
            (Usage(input_tokens=100, text_input_tokens=60, audio_input_tokens=40), {"text": 60, "audio": 40}),
            (Usage(input_tokens=100, audio_input_tokens=40), {"audio": 40, "unknown": 60}),
            (Usage(input_tokens=100, audio_input_tokens=0), {"unknown": 100}),
            (Usage(input_tokens=100, image_input_tokens=100), {"image": 100}),
            (Usage(input_tokens=0), {"unknown": 0}),
            (Usage(), {"unknown": 0}),
        ],
    )
    def test_tokens_are_split_by_modality(self, make_call, usage, expected):
        """
        The modalities add up to the total: what the provider did not split is `unknown`, as is the 0 of no usage.
        """
        measured = Measured(names="next").record(make_call(usage=usage))
        assert measured.tokens(INPUT, "gen_ai.token.modality") == expected

    def test_modalities_beyond_the_total_take_nothing_away(self, make_call):
        """
        A provider's parts that exceed its total leave no negative rest, which a counter refuses.
        """
        call = make_call(usage=Usage(input_tokens=10, text_input_tokens=8, audio_input_tokens=5))
        assert min(Measured(names="next").record(call).tokens(INPUT, "gen_ai.token.modality").values()) >= 0

    def test_missing_parts_are_not_counted(self, make_call):
        """
        Cache and reasoning counts that nobody told are no 0.
        """
        points = Measured(names="next").record(make_call(usage=Usage(input_tokens=5))).points
        assert not [name for name in points if "cache" in name or "reasoning" in name]

    def test_embeddings_keep_the_operation_duration(self, make_call):
        """
        Inference has its own metrics; other operations have `gen_ai.client.operation.duration` and no token metric.
        """
        embeddings = make_call(operation="embeddings", usage=Usage(input_tokens=5))
        assert Measured(names="next").record(embeddings).points.keys() == {"gen_ai.client.operation.duration"}

    def test_token_histograms_tell_failures(self, make_call):
        """
        A failed call counts with 0 tokens and its `error.type`.
        """
        failed = make_call(status="error", failure=Failure("overloaded_error"))
        (point,) = Measured(names="next").record(failed).points["gen_ai.client.inference.operation.input_tokens"]
        assert (point.sum, point.attributes["error.type"]) == (0, "overloaded_error")


class TestBoth:
    def test_buckets(self, full_call, names):
        """
        Every histogram is given its boundaries, so that no view is needed.
        """
        for name, points in Measured(names=names).record(full_call).points.items():
            bounds = TOKEN_BUCKETS if "token" in name else DURATION_BUCKETS
            assert all(tuple(point.explicit_bounds) == bounds for point in points if hasattr(point, "explicit_bounds"))

    def test_failures_are_told_on_durations(self, make_call, names):
        """
        A failed call has its `error.type` on the duration, and on no chunk metric.
        """
        points = Measured(names=names).record(make_call(first_chunk_ns=5, failure=Failure("server_error"))).points
        told = {name for name, found in points.items() if "error.type" in found[0].attributes}
        assert "gen_ai.client.operation.time_to_first_chunk" not in told
        assert [name for name in told if name.endswith(".duration")]

    def test_stored_answers_count_no_tokens(self, make_call, names):
        """
        A fetch of an answer that was counted before measures its duration only.
        """
        fetched = make_call(operation="fetch_response", billable=False, usage=Usage(input_tokens=5, output_tokens=5))
        assert Measured(names=names).record(fetched).points.keys() == {"gen_ai.client.operation.duration"}

    def test_only_allowed_labels_become_attributes(self, make_call, names):
        """
        Labels stay off metrics, where each value is a new series, unless the operator allows them.
        """
        call = make_call(labels={"team": "search", "request": "r-1"})
        points = Measured(names=names, labels=["team", "other"]).record(call, Cost(total=Decimal(1))).points
        labels = {
            name: value
            for found in points.values()
            for point in found
            for name, value in point.attributes.items()
            if "label" in name
        }
        assert labels == {"otel_llm.label.team": "search"}

    @pytest.mark.parametrize("cost", [UNKNOWN, Cost(total=Decimal(0))], ids=["unknown", "free"])
    def test_no_money_is_no_cost(self, make_call, names, cost):
        """
        The counter of money moves only when money was spent.
        """
        assert "otel_llm.cost" not in Measured(names=names).record(make_call(), cost).points
