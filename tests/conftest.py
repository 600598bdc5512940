"""
What most tests stand on: a provider to call, telemetry to look into, and real servers by name.

`server` is one `ProviderServer` for the whole run, emptied for every test. `telemetry` is otel-llm switched on, without
sinks, over the SDK's real providers with in-memory exporters; OpenTelemetry's globals can be set once per process, so
the providers live as long as the run and are emptied for every test.
"""

import functools
import os
import ssl
import time

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_llm
from otel_llm import pipeline
from otel_llm.telemetry.event import EVENT_NAME
from otel_llm.testing import ProviderServer, Reply
from tests.servers.kit import fixture

# What a busy machine takes for an example, or for the tables that the first one in a fresh clone needs, is no finding.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_DELTA = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}


def eventually(value, accept, timeout=5.0):
    """
    Call `value` until `accept` takes what it gives; another thread may still be at work on it.
    """
    deadline = time.monotonic() + timeout
    while not accept(found := value()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {timeout:g} s: {found!r}")
        time.sleep(0.002)
    return found


class Telemetry:
    """
    What left the process by OpenTelemetry since the test began.
    """

    def __init__(self):
        self._spans = InMemorySpanExporter()
        self._logs = InMemoryLogRecordExporter()
        self._metrics = InMemoryMetricReader(preferred_temporality=_DELTA)
        tracers, loggers = TracerProvider(), LoggerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        trace.set_tracer_provider(tracers)
        _logs.set_logger_provider(loggers)
        metrics.set_meter_provider(MeterProvider([self._metrics]))

    def clear(self):
        """
        Forget everything so far.
        """
        self._spans.clear()
        self._logs.clear()
        self._metrics.get_metrics_data()

    def spans(self, scope=None):
        """
        Give the ended spans, those of one instrumentation scope or all.
        """
        ended = self._spans.get_finished_spans()
        return [span for span in ended if scope in {None, span.instrumentation_scope.name}]

    def logs(self):
        """
        Give the call records as OpenTelemetry has them.
        """
        emitted = (log.log_record for log in self._logs.get_finished_logs())
        return [record for record in emitted if record.event_name == EVENT_NAME]

    def records(self, count=None):
        """
        Give the attributes of each call record; with `count`, wait until there are so many.
        """
        if count is not None:
            eventually(self.logs, lambda logs: len(logs) >= count)
        return [dict(record.attributes) for record in self.logs()]

    def record(self):
        """
        Give the attributes of the one call record there is, waiting for it.
        """
        (record,) = self.records(1)
        return record

    def points(self):
        """
        Give each metric's data points by the metric's name, and forget them.
        """
        data = self._metrics.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture(scope="session", autouse=True)
def _providers():
    """First of all, before anything else of this process could set OpenTelemetry's globals."""
    return Telemetry()


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context():
    """Load the certificates once: that is most of what a client costs, and nobody here speaks TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def _running_server():
    with ProviderServer() as running:
        yield running


@pytest.fixture
def server(_running_server, monkeypatch):
    """
    Give a provider on this machine, with nothing scripted and no requests yet.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    _running_server.default = Reply()
    _running_server.clear()
    return _running_server


@pytest.fixture(scope="session")
def servers(request):
    """
    Give the real servers of this run by name, see `tests/servers`.
    """
    yield from fixture.session(request)


@pytest.fixture
def telemetry(_providers, monkeypatch):
    """
    Switch otel-llm on without sinks, and give all that it tells OpenTelemetry; a test may call `configure` again.
    """
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    otel_llm.configure()
    pipeline.current().book.load()
    _providers.clear()
    yield _providers
    otel_llm.shutdown()
