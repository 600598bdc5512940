"""
The index template of the sink `elasticsearch`: a type for every field of every format.

What the formats declare is read from them; the attributes of the format `otel` are typed by rules, as they may be
anything. Prompts and answers are kept and not indexed, so that no shape of theirs can refuse a record.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect

from otel_llm.formats.analytics import AnalyticsEvent
from otel_llm.formats.gateway_log import GatewayLog
from otel_llm.formats.usage import UsageEntry

LABELS: Final = ("flattened", "flat_object", "object")
"""Types of one field with any keys: Elasticsearch's, OpenSearch's, and that of servers which have neither."""

_LONGEST_TERM: Final = 8191
"""Characters of text that are indexed: Lucene takes 32766 bytes of UTF-8."""
_MOST_FIELDS: Final = 2000

_KEYWORD: Final = {"type": "keyword", "ignore_above": _LONGEST_TERM}
_DATE: Final = {"type": "date"}
_LONG: Final = {"type": "long"}
_DOUBLE: Final = {"type": "double"}
_KEPT: Final = {"type": "object", "enabled": False}

_SCALARS: Final[Mapping[type[inspect.Type], Mapping[str, Any]]] = {
    inspect.StrType: _KEYWORD,
    inspect.IntType: _LONG,
    inspect.FloatType: _DOUBLE,
    inspect.BoolType: {"type": "boolean"},
    inspect.DictType: _KEPT,
}

_ADDED: Final = {"@timestamp": _DATE, "event.id": _KEYWORD, "trace.id": _KEYWORD, "span.id": _KEYWORD}
"""What the sink writes beside each document."""

_OTEL: Final = {
    "event_id": _KEYWORD,
    "observed_timestamp": _DATE,
    "severity_number": _LONG,
    "severity_text": _KEYWORD,
    "event_name": _KEYWORD,
    "trace_id": _KEYWORD,
    "span_id": _KEYWORD,
    "trace_flags": _LONG,
    "body": _KEPT,
    "attributes": {
        "properties": {
            **dict.fromkeys(
                (
                    "gen_ai.input.messages",
                    "gen_ai.output.messages",
                    "gen_ai.system_instructions",
                    "gen_ai.tool.definitions",
                    "otel_llm.attempt_log",
                    "otel_llm.stream.chunks",
                ),
                _KEPT,
            ),
            "gen_ai.usage.input_tokens": _LONG,
            "gen_ai.usage.output_tokens": _LONG,
            "otel_llm.start_time_unix_nano": _LONG,
            "otel_llm.label": {"type": "object", "dynamic": False},  # they are in `labels`
        }
    },
    "resource": {"properties": {"attributes": {"type": "object"}, "schema_url": _KEYWORD}},
    "scope": {"properties": {"name": _KEYWORD, "version": _KEYWORD}},
}

_RULES: Final = [
    {"text": {"match_mapping_type": "string", "mapping": _KEYWORD}},
    # A number that is whole in one record may have a fraction in the next.
    {"whole": {"match_mapping_type": "long", "mapping": _DOUBLE}},
    {"fraction": {"match_mapping_type": "double", "mapping": _DOUBLE}},
]


def template(patterns: list[str], labels: str, *, priority: int, data_stream: bool) -> bytes:
    """
    Give the composable template for indices of these names; `labels` is one of `LABELS`.
    """
    properties: dict[str, Any] = {}
    declared = [_declared(struct) for struct in (GatewayLog, AnalyticsEvent, UsageEntry)]
    for told in (_ADDED, *declared, _OTEL):
        properties = _merged(properties, told)
    properties["labels"] = {"type": labels}
    settings = {"mapping": {"total_fields": {"limit": _MOST_FIELDS}, "ignore_malformed": True}}
    mappings = {"date_detection": False, "dynamic_templates": _RULES, "properties": properties}
    document = {
        "index_patterns": patterns,
        "priority": priority,
        "version": 1,
        "template": {"settings": {"index": settings}, "mappings": mappings},
        **({"data_stream": {}} if data_stream else {}),
    }
    return msgspec.json.encode(document)


def _declared(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """
    Give the types of a format's fields, as its class declares them.
    """
    told = inspect.type_info(struct)
    return _properties(told) if isinstance(told, inspect.StructType) else {}


def _properties(struct: inspect.StructType) -> dict[str, Any]:
    typed = {field.encode_name: _type(field.type) for field in struct.fields}
    return typed | ({"timestamp": _DATE} if "timestamp" in typed else {})


def _type(told: inspect.Type) -> dict[str, Any]:
    if isinstance(told, inspect.UnionType):
        (told,) = (kind for kind in told.types if not isinstance(kind, inspect.NoneType))
    if isinstance(told, inspect.StructType):
        return {"properties": _properties(told)}
    return dict(_SCALARS[type(told)])


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """
    Give both; what both have is made of both.
    """
    both = {
        name: _merged(one[name], other[name])
        for name in one.keys() & other.keys()
        if isinstance(one[name], Mapping) and isinstance(other[name], Mapping)
    }
    return {**one, **other, **both}
