"""
What a Collector's file exporter wrote: a line per request, in OTLP's JSON.

It is read without any code of ours, so that it can be compared with what our code wrote.
"""

import base64
import json
from collections import defaultdict
from typing import NamedTuple

from otel_llm.telemetry.event import Event, Resource, Scope


class Span(NamedTuple):
    """
    A span as it arrived.
    """

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict
    resource: Resource
    scope: Scope


def events(path):
    """
    Give the log records of a file; an event's id is the one among its attributes.
    """
    return [_event(*found) for found in _items(path, "Logs", "logRecords")]


def spans(path):
    """
    Give the spans of a file.
    """
    return [_span(*found) for found in _items(path, "Spans", "spans")]


def metrics(path):
    """
    Give the attributes of all points of a file, by the metric's name.
    """
    found = defaultdict(list)
    for _, _, metric in _items(path, "Metrics", "metrics"):
        kind = next(kind for kind in ("sum", "gauge", "histogram", "exponentialHistogram") if kind in metric)
        found[metric["name"]] += [_mapping(point.get("attributes")) for point in metric[kind].get("dataPoints", ())]
    return dict(found)


def _items(path, signal, name):
    lines = path.read_text().splitlines(keepends=True) if path.exists() else ()
    for line in lines:
        if not line.endswith("\n"):  # it is still being written
            return
        for of_resource in json.loads(line).get(f"resource{signal}", ()):
            for of_scope in of_resource.get(f"scope{signal}", ()):
                yield from ((of_resource, of_scope, item) for item in of_scope.get(name, ()))


def _event(of_resource, of_scope, record):
    attributes = _mapping(record.get("attributes"))
    return Event(
        attributes.get("otel_llm.event.id", ""),
        record.get("eventName", ""),
        int(record.get("timeUnixNano", 0)),
        int(record.get("observedTimeUnixNano", 0)),
        record.get("severityNumber", 0),
        record.get("severityText", ""),
        attributes,
        record.get("traceId", ""),
        record.get("spanId", ""),
        record.get("flags", 0),
        _value(record.get("body", {})),
        _resource(of_resource),
        _scope(of_scope),
    )


def _span(of_resource, of_scope, span):
    return Span(
        span["name"],
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId", ""),
        _mapping(span.get("attributes")),
        _resource(of_resource),
        _scope(of_scope),
    )


def _resource(told):
    return Resource(_mapping(told.get("resource", {}).get("attributes")), told.get("schemaUrl", ""))


def _scope(told):
    scope = told.get("scope", {})
    return Scope(scope.get("name", ""), scope.get("version", ""))


def _mapping(pairs):
    return {pair["key"]: _value(pair["value"]) for pair in pairs or ()}


def _value(told):
    """
    Give what an `AnyValue` holds.
    """
    if not told:
        return None
    ((kind, value),) = told.items()
    return _READERS[kind](value)


_READERS = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": base64.b64decode,
    "arrayValue": lambda value: [_value(one) for one in value.get("values", ())],
    "kvlistValue": lambda value: _mapping(value.get("values")),
}
