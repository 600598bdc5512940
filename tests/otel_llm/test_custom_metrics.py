import subprocess
import sys

import pytest

import otel_llm
from otel_llm import custom_metrics

EARLY = """
import otel_llm
rated = otel_llm.counter("shop.answers.rated")
rated.add(1)
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
otel_llm.configure(metric_labels=["tenant_id"])
with otel_llm.labels(tenant_id="t1"):
    rated.add(2)
(scope,) = [scope for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics]
(metric,) = [metric for metric in scope.metrics if metric.name == "shop.answers.rated"]
(point,) = metric.data.data_points
print(scope.scope.name, point.value, dict(point.attributes))
"""


@pytest.fixture(autouse=True)
def _anew():
    """Forget the instruments of other tests."""
    custom_metrics._made.clear()


def test_counts_with_labels(telemetry):
    """
    A count carries its own attributes and the allowed labels in force.
    """
    otel_llm.configure(metric_labels=["tenant_id"])
    with otel_llm.labels(tenant_id="t1", request="r1"):
        otel_llm.counter("shop.rated", unit="{answer}").add(2, {"stars": 5})
    (point,) = telemetry.points()["shop.rated"]
    assert (point.value, dict(point.attributes)) == (2, {"stars": 5, "otel_llm.label.tenant_id": "t1"})


def test_histograms_have_their_buckets(telemetry):
    """
    A histogram keeps values in the buckets it was made with.
    """
    otel_llm.histogram("shop.rating", buckets=[1, 2, 3]).record(2.5)
    (point,) = telemetry.points()["shop.rating"]
    assert (tuple(point.explicit_bounds), tuple(point.bucket_counts)) == ((1, 2, 3), (0, 0, 1, 0))


def test_values_are_bounded(telemetry):
    """
    Texts that callers choose are told apart up to the bound.
    """
    otel_llm.configure(metric_label_values=3)
    for number in range(10):
        otel_llm.counter("shop.seen").add(1, {"page": f"p{number}"})
    points = {point.attributes["page"]: point.value for point in telemetry.points()["shop.seen"]}
    assert points == {"p0": 1, "p1": 1, "p2": 1, "otel.metric.overflow": 7}


def test_the_same_again():
    """
    Asking for it in the middle of a request gives the one there is.
    """
    assert otel_llm.counter("shop.rated") is otel_llm.counter("shop.rated")
    assert otel_llm.counter("shop.rated") is not otel_llm.histogram("shop.rated.stars")


def test_before_it_is_switched_on():
    """
    An instrument made before `configure`, and before any provider, counts from then on, under our scope.
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", EARLY], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("otel_llm 2 {'otel_llm.label.tenant_id': 't1'}\n", "")


def test_switched_off(telemetry):
    """
    After `shutdown` the application's metrics go on, without labels.
    """
    counted = otel_llm.counter("shop.late")
    otel_llm.shutdown()
    with otel_llm.labels(tenant_id="t1"):
        counted.add(1, {"page": "p1"})
    (point,) = telemetry.points()["shop.late"]
    assert dict(point.attributes) == {"page": "p1"}
