"""
The format `otlp_proto`: an OTLP `ExportLogsServiceRequest` in protobuf's wire form, which a Collector reads.

Written by hand: building protobuf's objects first takes several times as long, and the core needs no protobuf. Fields
stand in the order of their numbers, so the bytes are those of the official encoder.

Source: opentelemetry-proto 1.x, `collector/logs/v1`, `logs/v1`, `resource/v1`, `common/v1`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from struct import Struct as Packing
from typing import Any, Final

import msgspec

from otel_llm.telemetry.event import Event, Resource, Scope
from otel_llm.telemetry.safe_values import is_wide, safe


def encode(event: Event) -> bytes:
    """
    Give a request of this one record.
    """
    before, after = _resource(_to_key(event.resource))
    scope_logs = _scope(event.scope) + _field(_LOG_RECORDS, _record(event))
    return _field(_RESOURCE_LOGS, before + _field(_SCOPE_LOGS, scope_logs) + after)


def join(bodies: Iterable[bytes]) -> bytes:
    """
    Give one request of the records in several; protobuf puts what is repeated together.
    """
    return b"".join(bodies)


def id_bytes(digits: str, size: int) -> bytes:
    """
    Give an id of that many bytes; none where it is no such id, for which a Collector would refuse the whole request.
    """
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return b""
    return found if len(found) == size else b""


def unsigned(number: int, bits: int) -> int:
    """
    Give a number as an unsigned field can hold it, else 0.
    """
    return number if 0 <= number < 1 << bits else 0


# Tags: the field's number, then its wire type (0 varint, 1 eight bytes, 2 with a length, 5 four bytes).
_RESOURCE_LOGS: Final = b"\x0a"
_RESOURCE, _SCOPE_LOGS, _SCHEMA_URL = b"\x0a", b"\x12", b"\x1a"
_SCOPE, _LOG_RECORDS = b"\x0a", b"\x12"
_NAME, _VERSION = b"\x0a", b"\x12"
_SEVERITY_NUMBER, _SEVERITY_TEXT, _BODY, _ATTRIBUTES = b"\x10", b"\x1a", b"\x2a", b"\x32"
_TRACE_ID, _SPAN_ID, _EVENT_NAME = b"\x4a", b"\x52", b"\x62"
_KEY, _VALUE = b"\x0a", b"\x12"
_STRING, _INTEGER, _ARRAY, _MAP, _BYTES = b"\x0a", b"\x18", b"\x2a", b"\x32", b"\x3a"
_FALSE, _TRUE = b"\x10\x00", b"\x10\x01"
_VALUES: Final = b"\x0a"

_time = Packing("<BQ").pack
_flags = Packing("<BI").pack
_double = Packing("<Bd").pack
_TIME, _FLAGS, _OBSERVED_TIME, _DOUBLE = 0x09, 0x45, 0x59, 0x21

_to_key = msgspec.msgpack.Encoder(decimal_format="number").encode
_from_key = msgspec.msgpack.Decoder(Resource).decode


def _record(event: Event) -> bytes:
    return b"".join(
        (
            _moment(_TIME, event.timestamp_ns),
            _SEVERITY_NUMBER + _varint(unsigned(event.severity_number, 31)) if event.severity_number else b"",
            _text(_SEVERITY_TEXT, event.severity_text),
            _field(_BODY, _any(event.body)),
            *[_attribute(name, value) for name, value in event.attributes.items()],
            _flags(_FLAGS, unsigned(event.trace_flags, 32)) if event.trace_flags else b"",
            _id(_TRACE_ID, event.trace_id, 16),
            _id(_SPAN_ID, event.span_id, 8),
            _moment(_OBSERVED_TIME, event.observed_ns),
            _text(_EVENT_NAME, event.name),
        )
    )


def _attribute(name: str, value: Any) -> bytes:
    """
    Give one attribute; most are short texts, which are written in one go.
    """
    key = _key(name)
    if type(value) is str:
        data = value.encode()
        size = len(data)
        whole = len(key) + size + 4
        if whole < _MORE:
            return b"\x32%c%b\x12%c\x0a%c%b" % (whole, key, size + 2, size, data)
    return _field(_ATTRIBUTES, key + _field(_VALUE, _any(value)))


@lru_cache(maxsize=64)
def _resource(key: bytes) -> tuple[bytes, bytes]:
    """
    Give what stands before and after the records of a resource, which comes as MessagePack.
    """
    resource = _from_key(key)
    attributes = b"".join(_field(_VALUES, _pair(name, value)) for name, value in resource.attributes.items())
    return _field(_RESOURCE, attributes), _text(_SCHEMA_URL, resource.schema_url)


@lru_cache(maxsize=64)
def _scope(scope: Scope) -> bytes:
    return _field(_SCOPE, _text(_NAME, scope.name) + _text(_VERSION, scope.version))


def _any(value: Any) -> bytes:
    """
    Give an `AnyValue`.
    """
    write = _WRITERS.get(type(value))
    return _any(safe([value])[0]) if write is None else write(value)


def _string(value: str) -> bytes:
    data = value.encode()
    return _STRING + _varint(len(data)) + data


def _integer(value: int) -> bytes:
    return _string(str(value)) if is_wide(value) else _INTEGER + _varint(value)


def _array(values: Iterable[Any]) -> bytes:
    return _field(_ARRAY, b"".join([_field(_VALUES, _any(value)) for value in values]))


def _map(values: Mapping[Any, Any]) -> bytes:
    return _field(_MAP, b"".join([_field(_VALUES, _pair(str(name), value)) for name, value in values.items()]))


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: _string,
    int: _integer,
    float: lambda value: _double(_DOUBLE, value),
    bool: lambda value: _TRUE if value else _FALSE,
    type(None): lambda _: b"",
    bytes: lambda value: _field(_BYTES, value),
    list: _array,
    tuple: _array,
    dict: _map,
}


def _pair(name: str, value: Any) -> bytes:
    return _key(name) + _field(_VALUE, _any(value))


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return _text(_KEY, name)


def _text(tag: bytes, text: str) -> bytes:
    return _field(tag, text.encode()) if text else b""


def _moment(tag: int, nanoseconds: int) -> bytes:
    known = unsigned(nanoseconds, 64)
    return _time(tag, known) if known else b""


def _id(tag: bytes, digits: str, size: int) -> bytes:
    found = id_bytes(digits, size) if digits else b""
    return _field(tag, found) if found else b""


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (_SMALL[size] if size < _MORE else _varint(size)) + data


def _varint(number: int) -> bytes:
    """
    Give seven bits a byte, the lowest first; a negative number as 64 bits.
    """
    if 0 <= number < _MORE:
        return _SMALL[number]
    number &= 0xFFFF_FFFF_FFFF_FFFF
    parts = bytearray()
    while number >= _MORE:
        parts.append(number & 0x7F | _MORE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_MORE: Final = 0x80
_SMALL: Final = tuple(bytes([number]) for number in range(_MORE))
