import time
from decimal import Decimal

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_llm.pricing.cost import Cost
from otel_llm.telemetry import metrics
from otel_llm.telemetry.account import Bill
from otel_llm.telemetry.metrics import ENOUGH, MAX_WAITING, Metrics

FREE = Cost.unknown("nobody knows")
DURATION = "gen_ai.client.operation.duration"


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def measured(reader):
    provider = MeterProvider([reader])
    return Metrics(provider.get_meter("test"))


def durations(reader):
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
    return [
        point
        for scope in scopes
        for metric in scope.metrics
        if metric.name == DURATION
        for point in metric.data.data_points
    ]


def waiting():
    return len(metrics._waiting)


def test_a_call_waits_until_metrics_are_collected(measured, reader, make_call, bill):
    """
    The caller leaves a call behind; it is measured by whoever collects, in that very collection.
    """
    before = waiting()
    measured.record(bill(make_call(), FREE))
    assert waiting() == before + 1
    assert sum(point.count for point in durations(reader)) == 1
    assert waiting() == 0


def test_many_calls_do_not_wait_for_a_collection(measured, reader, make_call, bill):
    """
    As soon as there are enough of them, a thread measures the calls that wait.
    """
    for _ in range(ENOUGH):
        measured.record(bill(make_call(), FREE))
    deadline = time.monotonic() + 10
    while waiting() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert waiting() == 0
    assert sum(point.count for point in durations(reader)) == ENOUGH


def test_no_more_calls_wait_than_memory_is_meant_for(measured, reader, make_call, bill, monkeypatch):
    """
    When no thread can be had and nobody collects, each further call measures the oldest, and none is lost.
    """
    monkeypatch.setattr(metrics._Clerk, "call", lambda _self: None)
    for _ in range(MAX_WAITING + 10):
        measured.record(bill(make_call(), FREE))
    assert waiting() == MAX_WAITING
    assert sum(point.count for point in durations(reader)) == MAX_WAITING + 10


def test_a_call_that_cannot_be_measured_costs_no_other(measured, reader, make_call, bill):
    """
    What an instrument raises is reported; the thread goes on with the next call.
    """
    broken = Metrics(MeterProvider([InMemoryMetricReader()]).get_meter("test"))
    broken.measure = lambda *_args, **_options: 1 / 0
    broken.record(bill(make_call(), FREE))
    for _ in range(2 * ENOUGH):
        measured.record(bill(make_call(), FREE))
    deadline = time.monotonic() + 10
    while waiting() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sum(point.count for point in durations(reader)) == 2 * ENOUGH


def test_the_collection_signal_is_no_metric(measured, reader, make_call, bill):
    """
    The instrument that tells us of a collection has no values, so nobody receives it.
    """
    measured.record(bill(make_call(), FREE))
    data = reader.get_metrics_data()
    names = {metric.name for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert not any("collection" in name for name in names)


def test_exemplars_name_the_trace_in_which_the_call_ended(measured, reader, make_call, bill):
    """
    A call that ended inside a sampled trace is its exemplar, although it is measured outside of it.
    """
    inside = SpanContext(trace_id=7, span_id=8, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(inside)))
    measured.record(bill(make_call(), FREE))
    context.detach(token)
    assert [exemplar.trace_id for point in durations(reader) for exemplar in point.exemplars] == [7]


def test_a_call_that_ended_too_early_to_be_priced_is_priced_when_collected(measured, reader, make_call):
    """
    The cost of a call made while the price book was loading is counted once the book is there.
    """
    costs = [Cost.unknown("book_loading"), Cost(total=Decimal("0.25"), source="book")]
    early = Bill(make_call, lambda _call: costs.pop(0))
    _, cost = early.told()
    assert cost.total is None
    measured.record(early)
    data = reader.get_metrics_data()

    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert found["otel_llm.cost"].data.data_points[0].value == 0.25


def test_only_the_cost_of_a_call_that_others_meter(measured, reader, make_call, bill):
    """
    Where another instrumentation records the call's metrics, ours is the cost alone.
    """
    measured.record(bill(make_call(), Cost(total=Decimal("0.25"), source="book")), metered=False)
    data = reader.get_metrics_data()

    assert [metric.name for metric in data.resource_metrics[0].scope_metrics[0].metrics] == ["otel_llm.cost"]
