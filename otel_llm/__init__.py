"""
Every LLM call as one OpenTelemetry span, a few metrics and one priced log record, delivered without losing one.

This is the face: each name is imported from where it lives when it is first used, so that importing `otel_llm` costs
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_llm.call import Attempt, Call, Content, Failure, Parameters, Usage
    from otel_llm.capture.dialect import Dialect, Request, Response, Route, StreamReader
    from otel_llm.capture.labels import labels
    from otel_llm.configuration import configure, flush, shutdown, stats
    from otel_llm.custom_metrics import counter, histogram
    from otel_llm.delivery.sink import Batch, BlockingSink, Delivered, Receipt, Record, Rejected, Retry, Sink
    from otel_llm.delivery.stats import SinkStats
    from otel_llm.errors import (
        MissingExtra,
        NotDelivered,
        OtelLLMError,
        Problem,
        SettingsError,
        Unauthorized,
        UnknownPlugin,
    )
    from otel_llm.instrumentation import instrument, uninstrument
    from otel_llm.pricing.cost import Cost
    from otel_llm.telemetry.event import Event

_HOMES = {
    "otel_llm.call": ("Attempt", "Call", "Content", "Failure", "Parameters", "Usage"),
    "otel_llm.capture.dialect": ("Dialect", "Request", "Response", "Route", "StreamReader"),
    "otel_llm.capture.labels": ("labels",),
    "otel_llm.configuration": ("configure", "flush", "shutdown", "stats"),
    "otel_llm.custom_metrics": ("counter", "histogram"),
    "otel_llm.delivery.sink": (
        "Batch",
        "BlockingSink",
        "Delivered",
        "Receipt",
        "Record",
        "Rejected",
        "Retry",
        "Sink",
    ),
    "otel_llm.delivery.stats": ("SinkStats",),
    "otel_llm.errors": (
        "MissingExtra",
        "NotDelivered",
        "OtelLLMError",
        "Problem",
        "SettingsError",
        "Unauthorized",
        "UnknownPlugin",
    ),
    "otel_llm.instrumentation": ("instrument", "uninstrument"),
    "otel_llm.pricing.cost": ("Cost",),
    "otel_llm.telemetry.event": ("Event",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Attempt",
    "Batch",
    "BlockingSink",
    "Call",
    "Content",
    "Cost",
    "Delivered",
    "Dialect",
    "Event",
    "Failure",
    "MissingExtra",
    "NotDelivered",
    "OtelLLMError",
    "Parameters",
    "Problem",
    "Receipt",
    "Record",
    "Rejected",
    "Request",
    "Response",
    "Retry",
    "Route",
    "SettingsError",
    "Sink",
    "SinkStats",
    "StreamReader",
    "Unauthorized",
    "UnknownPlugin",
    "Usage",
    "configure",
    "counter",
    "flush",
    "histogram",
    "instrument",
    "labels",
    "shutdown",
    "stats",
    "uninstrument",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
