"""
OpenTelemetry as the peers get it: the SDK's batch processors, with exporters that read everything and count it.

They look at every attribute, as whoever encodes a batch does: what a peer leaves to be worked out by then is its cost.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

QUEUE = 1 << 16
_RESOURCE = Resource.create({"service.name": "benchmark"})

exported: Counter[str] = Counter()
"""How many signals were exported so far."""


class CountingSpans(SpanExporter):
    """
    Reads spans and forgets them.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        exported["spans"] += len(spans)
        exported["span attributes"] += sum(len(dict(span.attributes or {})) for span in spans)
        return SpanExportResult.SUCCESS


class CountingLogs(LogRecordExporter):
    """
    Reads log records and forgets them.
    """

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        exported["records"] += len(batch)
        exported["record attributes"] += sum(len(dict(each.log_record.attributes or {})) for each in batch)
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True

    def shutdown(self) -> None:
        pass


class Providers:
    """
    The global providers; the sampler is the one that `OTEL_TRACES_SAMPLER` names.
    """

    def __init__(self) -> None:
        self.tracer_provider = TracerProvider(resource=_RESOURCE)
        self.logger_provider = LoggerProvider(resource=_RESOURCE)
        self._metrics = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._metrics], resource=_RESOURCE)
        self.tracer_provider.add_span_processor(BatchSpanProcessor(CountingSpans(), max_queue_size=QUEUE))
        self.logger_provider.add_log_record_processor(BatchLogRecordProcessor(CountingLogs(), max_queue_size=QUEUE))
        trace.set_tracer_provider(self.tracer_provider)
        _logs.set_logger_provider(self.logger_provider)
        metrics.set_meter_provider(self.meter_provider)

    def named(self) -> dict[str, Any]:
        """
        Give the providers under the names that instrumentors take.
        """
        return {
            "tracer_provider": self.tracer_provider,
            "logger_provider": self.logger_provider,
            "meter_provider": self.meter_provider,
        }

    def flush(self) -> None:
        """
        Export what is waiting.
        """
        self._metrics.get_metrics_data()
        self.tracer_provider.force_flush()
        self.logger_provider.force_flush()
