"""OpenTelemetry's providers: used where they exist, set up where they do not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_llm import diagnostics

EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")


def ensure(*, otlp: bool = False) -> None:
    """
    Run the SDK's own configurator where no SDK provider is set up yet.

    An exporter variable that is not set means `none`, or `otlp` where that was asked for. When an exporter that is
    named cannot be made, that is said and the rest is set up without exporters: the application's calls are still
    recorded in its sinks.
    """
    if _present():
        return
    with _exporters("otlp" if otlp else "none", keep=True):
        try:
            _configure()
        except Exception as error:  # noqa: BLE001 - whatever an exporter's constructor raises
            diagnostics.warn_once("exporters", f"OpenTelemetry's exporters are off: {type(error).__name__}: {error}")
        else:
            return
    if not _present():
        with _exporters("none", keep=False):
            _configure()


def _configure() -> None:
    _OTelSDKConfigurator().configure()  # type: ignore[no-untyped-call]


def _present() -> bool:
    return (
        isinstance(trace.get_tracer_provider(), TracerProvider)
        or isinstance(metrics.get_meter_provider(), MeterProvider)
        or isinstance(_logs.get_logger_provider(), LoggerProvider)
    )


@contextmanager
def _exporters(default: str, *, keep: bool) -> Iterator[None]:
    """
    Set the exporter variables for as long as the configurator reads them.
    """
    before = {name: os.environ.get(name) for name in EXPORTERS}
    os.environ.update({name: (before[name] if keep else None) or default for name in EXPORTERS})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
