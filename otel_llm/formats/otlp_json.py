"""
The format `otlp_json`: an OTLP `ExportLogsServiceRequest` as JSON, which a Collector reads.

As OTLP asks, ids are hex, integers of 64 bits are strings, enumerations are numbers; NaN and the infinities are words.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from otel_llm.formats.otlp_proto import id_bytes, unsigned
from otel_llm.telemetry.event import Event, Resource
from otel_llm.telemetry.safe_values import is_wide, safe


class _Message(Struct, rename="camel", omit_defaults=True, gc=False):
    """
    A protobuf message in JSON: what has its default is left out.
    """


class _Value(_Message):
    """
    An `AnyValue` of nothing.
    """


class _String(_Value):
    string_value: str


class _Bool(_Value):
    bool_value: bool


class _Integer(_Value):
    int_value: str


class _Double(_Value):
    double_value: float | str


class _Bytes(_Value):
    bytes_value: bytes


class _Values(_Message):
    values: list[Any] = []


class _Array(_Value):
    array_value: _Values


class _Map(_Value):
    kvlist_value: _Values


class _Pair(_Message):
    key: str
    value: _Value


class _Attributes(_Message):
    attributes: list[_Pair] = []


class _Scope(_Message):
    name: str = ""
    version: str = ""


class _Record(_Message):
    body: _Value
    time_unix_nano: str = ""
    severity_number: int = 0
    severity_text: str = ""
    attributes: list[_Pair] = []
    flags: int = 0
    trace_id: str = ""
    span_id: str = ""
    observed_time_unix_nano: str = ""
    event_name: str = ""


class _ScopeLogs(_Message):
    scope: _Scope
    log_records: list[_Record]


class _ResourceLogs(_Message):
    resource: _Attributes
    scope_logs: list[_ScopeLogs]
    schema_url: str = ""


class _Request(_Message):
    resource_logs: list[_ResourceLogs]


def encode(event: Event) -> bytes:
    """
    Give a request of this one record.
    """
    scope = _Scope(event.scope.name, event.scope.version)
    return _to_json(_Request([_resource_logs(event.resource, _ScopeLogs(scope, [_record(event)]))]))


def join(bodies: Iterable[bytes]) -> bytes:
    """
    Give one request of the records in several that `encode` wrote.
    """
    return _OPEN + b",".join(body[len(_OPEN) : -len(_CLOSE)] for body in bodies) + _CLOSE


_OPEN, _CLOSE = b'{"resourceLogs":[', b"]}"

_to_json = msgspec.json.Encoder().encode


def _resource_logs(resource: Resource, logs: _ScopeLogs) -> _ResourceLogs:
    return _ResourceLogs(_Attributes(_pairs(resource.attributes)), [logs], resource.schema_url)


def _record(event: Event) -> _Record:
    return _Record(
        _any(event.body),
        _moment(event.timestamp_ns),
        unsigned(event.severity_number, 31),
        event.severity_text,
        _pairs(event.attributes),
        unsigned(event.trace_flags, 32),
        id_bytes(event.trace_id, 16).hex(),
        id_bytes(event.span_id, 8).hex(),
        _moment(event.observed_ns),
        event.name,
    )


def _moment(nanoseconds: int) -> str:
    known = unsigned(nanoseconds, 64)
    return str(known) if known else ""


def _pairs(values: Mapping[Any, Any]) -> list[_Pair]:
    return [_Pair(str(name), _any(value)) for name, value in values.items()]


def _any(value: Any) -> _Value:
    write = _WRITERS.get(type(value))
    return _any(safe([value])[0]) if write is None else write(value)


def _integer(value: int) -> _Value:
    return _String(str(value)) if is_wide(value) else _Integer(str(value))


def _double(value: float) -> _Value:
    if math.isfinite(value):
        return _Double(value)
    return _Double("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")


def _array(values: Iterable[Any]) -> _Value:
    return _Array(_Values([_any(value) for value in values]))


_WRITERS: Final[dict[type, Callable[[Any], _Value]]] = {
    str: _String,
    bool: _Bool,
    int: _integer,
    float: _double,
    bytes: _Bytes,
    type(None): lambda _: _Value(),
    list: _array,
    tuple: _array,
    dict: lambda values: _Map(_Values(_pairs(values))),
}
