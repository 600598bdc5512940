"""
OpenTelemetry exporters that append what they are given to `$TELEMETRY_DUMP/{spans,metrics,records}.jsonl`.

They stand under the SDK's own entry points, so a program needs to know nothing of them.
"""

import base64
import json
import os
from pathlib import Path

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

ENTRY_POINTS = """
[opentelemetry_traces_exporter]
dump = telemetry_dump:Spans
[opentelemetry_metrics_exporter]
dump = telemetry_dump:Metrics
[opentelemetry_logs_exporter]
dump = telemetry_dump:Records
[opentelemetry_traces_sampler]
dump = telemetry_dump:EverySpan
"""

_STARTED = "telemetry_dump.started"


def _write(kind, row):
    with (Path(os.environ["TELEMETRY_DUMP"]) / f"{kind}.jsonl").open("a") as file:
        file.write(json.dumps(row, default=_plain) + "\n")


def _plain(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return dict(value) if hasattr(value, "items") else str(value)


class EverySpan(Sampler):
    """
    Samples every span, and notes on it with which attributes it was started.
    """

    def __init__(self, _argument=None):
        pass

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):  # noqa: ARG002
        started = {**(attributes or {}), _STARTED: json.dumps(dict(attributes or {}), default=str)}
        return SamplingResult(Decision.RECORD_AND_SAMPLE, started)

    def get_description(self):
        return "EverySpan"


class Spans(SpanExporter):
    def export(self, spans):
        for span in spans:
            attributes = dict(span.attributes)
            _write(
                "spans",
                {
                    "name": span.name,
                    "kind": span.kind.name,
                    "status": span.status.status_code.name,
                    "description": span.status.description,
                    "started": json.loads(attributes.pop(_STARTED, "{}")),
                    "attributes": attributes,
                    "events": [{"name": event.name, "attributes": dict(event.attributes)} for event in span.events],
                    "scope": span.instrumentation_scope.name,
                    "schema_url": span.instrumentation_scope.schema_url,
                    "trace_id": f"{span.context.trace_id:032x}",
                    "span_id": f"{span.context.span_id:016x}",
                    "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
                    "seconds": (span.end_time - span.start_time) / 1e9,
                },
            )
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


class Metrics(MetricExporter):
    def export(self, metrics_data, timeout_millis=10_000, **_options):  # noqa: ARG002
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        self._point(scope.scope.name, metric, point)
        return MetricExportResult.SUCCESS

    def _point(self, scope, metric, point):
        row = {"scope": scope, "name": metric.name, "unit": metric.unit, "attributes": dict(point.attributes)}
        if hasattr(point, "explicit_bounds"):
            row |= {"instrument": "histogram", "bounds": list(point.explicit_bounds)}
            row |= {"count": point.count, "sum": point.sum}
        else:
            row |= {"instrument": "counter", "sum": point.value}
        _write("metrics", row)

    def force_flush(self, timeout_millis=10_000):  # noqa: ARG002
        return True

    def shutdown(self, timeout_millis=30_000, **_options):
        pass


class Records(LogRecordExporter):
    def export(self, batch):
        for one in batch:
            record = one.log_record
            _write(
                "records",
                {
                    "name": record.event_name,
                    "severity": record.severity_text,
                    "number": record.severity_number.value if record.severity_number else None,
                    "body": record.body,
                    "attributes": dict(record.attributes or {}),
                    "timestamp": record.timestamp,
                    "scope": one.instrumentation_scope.name,
                    "schema_url": one.instrumentation_scope.schema_url,
                    "trace_id": f"{record.trace_id:032x}",
                    "span_id": f"{record.span_id:016x}",
                },
            )
        return LogRecordExportResult.SUCCESS

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30_000):  # noqa: ARG002
        return True
