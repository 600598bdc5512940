"""
Emits numbered records through the SDK's logger, and says so after each: `survival.py` decides how this process ends.

    python survivor.py {sdk,otel-llm} URL RECORDS PER_SECOND PROCESSES
"""

import os
import sys
import time

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider

EVENT_NAME = "gen_ai.client.inference.operation.details"


def use_sdk(url: str) -> None:
    """
    Export the way OpenTelemetry does, with its own defaults.
    """
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=url)))
    _logs.set_logger_provider(provider)


def use_otel_llm(_url: str) -> None:
    """
    Deliver by journal and courier, with the defaults; the environment names the sink.
    """
    import otel_llm

    _logs.set_logger_provider(LoggerProvider())
    otel_llm.configure()


def emit(numbers: range, per_second: float) -> None:
    """
    Emit one record for each number, and write the number to standard output when `emit` has returned.
    """
    logger = _logs.get_logger("survivor")
    begun = time.monotonic()
    for done, number in enumerate(numbers):
        time.sleep(max(0.0, begun + done / per_second - time.monotonic()))
        logger.emit(_record(number))
        os.write(1, b"%d\n" % number)


def _record(number: int) -> LogRecord:
    now = time.time_ns()
    attributes = {
        "number": number,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.usage.output_tokens": 96,
        "server.address": "api.openai.com",
    }
    return LogRecord(
        timestamp=now,
        observed_timestamp=now,
        severity_number=SeverityNumber.INFO,
        severity_text="INFO",
        attributes=attributes,
        event_name=EVENT_NAME,
    )


def main() -> None:
    """
    Emit in so many processes; then wait for the end of standard input, and end as programs do.
    """
    kind, url, records, per_second, processes = sys.argv[1:]
    {"sdk": use_sdk, "otel-llm": use_otel_llm}[kind](url)
    if processes == "1":
        emit(range(int(records)), float(per_second))
    else:
        _emit_in_children(int(records), float(per_second), int(processes))
    sys.stdin.read()


def _emit_in_children(records: int, per_second: float, processes: int) -> None:
    share = records // processes
    for child in range(processes):
        if os.fork() == 0:
            emit(range(child * share, (child + 1) * share), per_second)
            os._exit(0)
    for _ in range(processes):
        os.wait()


if __name__ == "__main__":
    main()
