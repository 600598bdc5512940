import threading
from collections import Counter

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.cardinality import OVERFLOW, Cardinality
from otel_llm.telemetry.metrics import Metrics

TENANT = "otel_llm.label.tenant_id"
DURATION = "gen_ai.client.operation.duration"
UNKNOWN = Cost.unknown("nobody knows")


class Collected:
    """
    What a meter measured.
    """

    def __init__(self):
        self._reader = InMemoryMetricReader()
        self.meter = MeterProvider([self._reader]).get_meter("test")

    def points(self, name):
        """
        Give the points of a metric as pairs of attributes and count.
        """
        scopes = self._reader.get_metrics_data().resource_metrics[0].scope_metrics
        found = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        points = [point for metric in found for point in metric.data.data_points]
        return [(dict(point.attributes), getattr(point, "count", None) or point.value) for point in points]


@pytest.fixture
def collected():
    return Collected()


class TestCalls:
    @pytest.fixture
    def metrics(self, collected):
        return Metrics(collected.meter, labels=["tenant_id"], values=50)

    def test_ten_thousand_tenants(self, collected, metrics, make_call, bill):
        """
        Ten thousand tenants are fifty series and one for all others; no call is missing, and none loses its model.
        """
        for number in range(10_000):
            model = f"gpt-{number % 4}"
            metrics.record(bill(make_call(request_model=model, labels={"tenant_id": f"t{number}"}), UNKNOWN))
        points = collected.points(DURATION)
        tenants, models = Counter(), Counter()
        for attributes, count in points:
            tenants[attributes[TENANT]] += count
            models[attributes["gen_ai.request.model"]] += count
        assert len(tenants) == 51
        assert tenants[OVERFLOW] == 9_950
        assert models == {f"gpt-{number}": 2_500 for number in range(4)}
        assert collected.points("otel_llm.metric.overflow") == [({"otel_llm.metric.attribute": TENANT}, 9_950)]

    def test_a_tenant_that_is_told_stays(self, collected, metrics, make_call, bill):
        """
        Who came among the first is told apart for good, however many come after.
        """
        for tenant in ["first", *(f"t{number}" for number in range(100)), "first"]:
            metrics.record(bill(make_call(labels={"tenant_id": tenant}), UNKNOWN))
        counts = {attributes[TENANT]: count for attributes, count in collected.points(DURATION)}
        assert counts["first"] == 2

    def test_other_labels_stay_out(self, collected, metrics, make_call, bill):
        """
        A label that nobody allowed is on no metric.
        """
        metrics.record(bill(make_call(labels={"tenant_id": "t1", "request": "r1"}), UNKNOWN))
        ((attributes, _),) = collected.points(DURATION)
        assert {name for name in attributes if name.startswith("otel_llm.label.")} == {TENANT}

    def test_models_are_bounded_too(self, collected, metrics, make_call, bill):
        """
        Whoever may choose the model cannot fill a metrics database with invented ones.
        """
        for number in range(200):
            metrics.record(bill(make_call(request_model=f"invented-{number}"), UNKNOWN))
        assert len(collected.points(DURATION)) == 51


def test_many_threads_never_exceed_the_bound(collected):
    """
    However many threads bring new values at once, the bound holds.
    """
    cardinality = Cardinality(collected.meter, 20)
    told = [set() for _ in range(8)]
    barrier = threading.Barrier(len(told))

    def bring(number):
        barrier.wait()
        for value in range(2000):
            told[number].add(cardinality.bounded("name", f"{number}-{value}"))

    threads = [threading.Thread(target=bring, args=[number]) for number in range(len(told))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set.union(*told) - {OVERFLOW}) == 20


def test_only_texts_are_bounded(collected):
    """
    Numbers and booleans stay what they are.
    """
    cardinality = Cardinality(collected.meter, 1)
    cardinality.bounded("kind", "a")
    assert cardinality.all_bounded({"kind": "b", "ok": True, "stars": 5}) == {"kind": OVERFLOW, "ok": True, "stars": 5}


def test_half_a_surrogate_pair(collected):
    """
    What UTF-8 cannot hold is replaced, or one value would cost a page or a request with all metrics.
    """
    cardinality = Cardinality(collected.meter, 1)
    assert [cardinality.bounded("kind", "a\ud800") for _ in range(2)] == ["a\ufffd"] * 2
