"""
Our sinks as OpenTelemetry log exporters: `OTEL_LOGS_EXPORTER=llm_sqlite`, or `llm_sqlite` in an `OTEL_CONFIG_FILE`.

`exporter.NAME` is the exporter class of the sink NAME, also for a third party's sink, whose package has the entry point
`llm_acme = "otel_llm.delivery.exporter:acme"`. What raises while OpenTelemetry sets itself up stops all of it, so
making an exporter does nothing but note which sink is meant.
"""

from collections.abc import Sequence
from functools import cache
from typing import ClassVar

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from otel_llm.delivery import shared
from otel_llm.telemetry.log_record import event_of, is_call_record


class SinkExporter(LogRecordExporter):
    """
    Hands GenAI calls' records to the sink's courier; all other logs are not for it.
    """

    sink: ClassVar[str]

    def __init__(self, **options: object) -> None:
        shared.register(self.sink, options)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """
        Journal the calls' records that our processor has not taken already; from there delivery is sure.
        """
        for record in batch:
            if is_call_record(record):
                shared.offer(event_of(record))
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        """
        Wait until the sinks have what was journaled so far.
        """
        return shared.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """
        Deliver what can be delivered in time, all exporters together; the rest stays in the journal.
        """
        shared.flush_at_exit()


@cache
def _exporter(sink: str) -> type[SinkExporter]:
    return type(f"{sink.title().replace('_', '')}Exporter", (SinkExporter,), {"sink": sink, "__module__": __name__})


def __getattr__(sink: str) -> type[SinkExporter]:
    if sink.startswith("_"):
        raise AttributeError(sink)
    return _exporter(sink)
