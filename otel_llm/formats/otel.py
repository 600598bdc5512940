"""
The format `otel`: OpenTelemetry's log data model as one JSON document.

`from_otel` is the inverse of `encode`, but for what JSON cannot tell: times are cut to microseconds, bytes come back as
their base64 text and NaN or Infinity as the word.
"""

import math
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from otel_llm.formats.moment import nanoseconds, with_microseconds
from otel_llm.telemetry.event import Event, Resource, Scope


class _Resource(Struct, omit_defaults=True):
    attributes: dict[str, Any] = {}
    schema_url: str = ""


class _Scope(Struct, omit_defaults=True):
    name: str = ""
    version: str = ""


class _Origin(Struct, omit_defaults=True):
    resource: _Resource | UnsetType = UNSET
    scope: _Scope | UnsetType = UNSET


class _Record(Struct, omit_defaults=True):
    event_id: str
    timestamp: str = ""
    observed_timestamp: str = ""
    severity_number: int = 0
    severity_text: str = ""
    event_name: str = ""
    trace_id: str = ""
    span_id: str = ""
    trace_flags: int | UnsetType = UNSET
    body: Any = None
    attributes: dict[str, Any] = {}


def encode(event: Event) -> bytes:
    """
    Give the whole record; nothing is renamed, rounded or dropped.
    """
    return _document(_record(event))[:-1] + _origin(event.resource, event.scope)


def _document(record: Struct) -> bytes:
    data = _to_json(record)
    # msgspec writes NaN and Infinity as null, so that only a document with a null can hold one. `in` takes much longer.
    return data if data.rfind(b"null") < 0 else _to_json(_without_nan(record))


def from_otel(data: bytes | str) -> Event:
    """
    Read what `encode` wrote; raises `msgspec.DecodeError` or `ValueError` when it is something else.
    """
    record, origin = _record_from_json(data), _origin_from_json(data)
    resource = origin.resource or _Resource()
    scope = origin.scope or _Scope()
    return Event(
        id=record.event_id,
        name=record.event_name,
        timestamp_ns=nanoseconds(record.timestamp) if record.timestamp else 0,
        observed_ns=nanoseconds(record.observed_timestamp) if record.observed_timestamp else 0,
        severity_number=record.severity_number,
        severity_text=record.severity_text,
        attributes=record.attributes,
        trace_id=record.trace_id,
        span_id=record.span_id,
        trace_flags=record.trace_flags or 0,
        body=record.body,
        resource=Resource(resource.attributes, resource.schema_url),
        scope=Scope(scope.name, scope.version),
    )


_to_json = msgspec.json.Encoder(decimal_format="number").encode
_record_from_json = msgspec.json.Decoder(_Record).decode
_origin_from_json = msgspec.json.Decoder(_Origin).decode


def _record(event: Event) -> _Record:
    ended, observed = event.timestamp_ns, event.observed_ns
    timestamp = with_microseconds(ended) if ended else ""
    return _Record(
        event.id,
        timestamp,
        timestamp if observed == ended else with_microseconds(observed) if observed else "",
        event.severity_number,
        event.severity_text,
        event.name,
        event.trace_id,
        event.span_id,
        event.trace_flags if event.trace_id or event.trace_flags else UNSET,
        event.body,
        event.attributes,
    )


def _origin(resource: Resource, scope: Scope) -> bytes:
    """
    Give the end of the document: a process has one resource, so that of the record before will mostly do.
    """
    global _latest  # noqa: PLW0603 - replaced as a whole
    latest = _latest
    if latest[0] is not resource or latest[1] is not scope:
        latest = _latest = (resource, scope, _ending(resource, scope))
    return latest[2]


def _ending(resource: Resource, scope: Scope) -> bytes:
    origin = _Origin(
        _Resource(resource.attributes, resource.schema_url) if resource.attributes or resource.schema_url else UNSET,
        _Scope(scope.name, scope.version) if scope.name or scope.version else UNSET,
    )
    members = _document(origin)[1:]
    return members if members == b"}" else b"," + members


_latest = (Resource(), Scope(), b"}")


def _without_nan(document: Struct) -> Struct:
    return replace(document, **{name: _worded(value) for name, value in asdict(document).items()})


def _worded(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else _word(value)
    if isinstance(value, Struct):
        return _without_nan(value)
    if isinstance(value, dict):
        return {key: _worded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(part) for part in value]
    return value


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
