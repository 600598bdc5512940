"""OpenTelemetry's providers: used where they exist, set up where they do not."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_llm import diagnostics
from otel_llm.entry_points import entry_points

EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")
CONFIG_FILE = "OTEL_CONFIG_FILE"


def ensure(*, otlp: bool = False) -> None:
    """
    Run the SDK's own configurator where no SDK provider is set up yet.

    An exporter variable that is not set means `none`, or `otlp` where that was asked for. When an exporter that is
    named cannot be made, that is said and the rest is set up with our own sinks alone: the application's calls are
    still recorded there.
    """
    if _present():
        return
    try:
        _configure({name: os.environ.get(name) or ("otlp" if otlp else "none") for name in EXPORTERS})
    except Exception as error:  # noqa: BLE001 - whatever an exporter's constructor raises
        diagnostics.warn_once("exporters", f"OpenTelemetry's exporters are off: {type(error).__name__}: {error}")
        if not _present():
            _configure(dict.fromkeys(EXPORTERS, "none") | {"OTEL_LOGS_EXPORTER": _own_exporters(), CONFIG_FILE: ""})


def _own_exporters() -> str:
    named = [name.strip() for name in os.environ.get("OTEL_LOGS_EXPORTER", "").split(",")]
    known = entry_points("opentelemetry_logs_exporter")
    return ",".join(name for name in named if name.startswith("llm_") and name in known) or "none"


def _configure(variables: Mapping[str, str]) -> None:
    with _environment(variables):
        _OTelSDKConfigurator().configure()  # type: ignore[no-untyped-call]


def _present() -> bool:
    return (
        isinstance(trace.get_tracer_provider(), TracerProvider)
        or isinstance(metrics.get_meter_provider(), MeterProvider)
        or isinstance(_logs.get_logger_provider(), LoggerProvider)
    )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """
    Set variables for as long as the configurator reads them.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
