"""
Records as rows of PostgreSQL's binary COPY.

A time goes as microseconds since 2000, JSON as its bytes behind a version: the wire says nothing of types. PostgreSQL
keeps no NUL in text, so it becomes U+FFFD there.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from otel_llm.delivery.sink import Record
from otel_llm.telemetry.event import Event
from otel_llm.usage.schema import Columns, Kind

Derive = Callable[[Event], Sequence[Any]]

WIRE_TYPES: Final[Mapping[Kind, str]] = {
    "text": "text",
    "integer": "int8",
    "real": "numeric",
    "time": "int8",
    "json": "bytea",
    "boolean": "bool",
}
"""As what psycopg has to encode each kind."""

_EPOCH_2000: Final = 946_684_800_000_000
_LATEST: Final = 9_223_371_331_200_000_000
_LARGEST: Final = 2**63 - 1
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_NUL_IN_JSON: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class Unstorable(ValueError):  # noqa: N818 - it says what the record is
    """
    A record with a value that its column cannot hold; the message never quotes the value.
    """


class Rows:
    """
    Makes the rows of one table: the columns in the order `names`, the record's body last.

    `derive` works out those columns that are no attribute, in the order `derived`.
    """

    def __init__(self, columns: Columns, derived: Sequence[str], derive: Derive, body: str) -> None:
        self._derived = derived
        self._derive = derive
        self._adapters = [_ADAPTERS[columns[name][0]] for name in derived]
        self._texts = _attributes(columns, "text")
        self._wholes = _attributes(columns, "integer")
        self._reals = _attributes(columns, "real")
        self.names = (*derived, *self._texts, *self._wholes, *self._reals, body)
        kinds: dict[str, Kind] = {name: kind for name, (kind, _) in columns.items()} | {body: "json"}
        self.wire_types = [WIRE_TYPES[kinds[name]] for name in self.names]

    def row(self, record: Record) -> list[Any]:
        """
        Give the row of a record; raises `Unstorable`.
        """
        values, get = self._worked_out(record.event), record.event.attributes.get
        values += _all_fitted(self._texts, [*map(get, self._texts.values())], _are_texts, _text)
        values += _all_fitted(self._wholes, [*map(get, self._wholes.values())], _are_wholes, _whole)
        values += [_fitted(name, get(attribute), _real) for name, attribute in self._reals.items()]
        values.append(_jsonb(record.body))
        return values

    def _worked_out(self, event: Event) -> list[Any]:
        values = self._derive(event)
        try:
            return [
                None if value is None else adapt(value) for value, adapt in zip(values, self._adapters, strict=True)
            ]
        except Unstorable:
            return [*map(_fitted, self._derived, values, self._adapters)]


def _attributes(columns: Columns, wanted: Kind) -> dict[str, str]:
    return {name: source for name, (kind, source) in columns.items() if source is not None and kind == wanted}


def _all_fitted(
    columns: Mapping[str, str], values: list[Any], fit: Callable[[list[Any]], bool], adapt: Callable[[Any], Any]
) -> list[Any]:
    if fit(values):
        return values
    return [_fitted(name, value, adapt) for name, value in zip(columns, values, strict=True)]


def _fitted(name: str, value: Any, adapt: Callable[[Any], Any]) -> Any:
    if value is None:
        return None
    try:
        return adapt(value)
    except Unstorable as error:
        raise Unstorable(f"{name}: {error}") from None


def _are_texts(values: list[Any]) -> bool:
    return {*map(type, values)} <= {str, type(None)} and "\0" not in "".join(filter(None, values))


def _are_wholes(values: list[Any]) -> bool:
    fit = {*map(type, values)} <= {int, type(None)}
    return fit and -_LARGEST <= min(told := [*filter(None, values), 0]) <= max(told) <= _LARGEST


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise Unstorable(f"expected text, found a {type(value).__name__}")
    return str(value).replace("\0", _REPLACEMENT)


def _whole(value: Any) -> int:
    try:
        number = int(value) if isinstance(value, int | str) or float(value).is_integer() else None
    except (ValueError, TypeError, OverflowError):
        number = None
    if number is None or abs(number) > _LARGEST:
        raise Unstorable("expected a whole number of 64 bits")
    return number


def _real(value: Any) -> Decimal | None:
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise Unstorable("expected a number") from None
    return Decimal(repr(number)) if math.isfinite(number) else None


def _time(nanoseconds: int) -> int:
    microseconds = nanoseconds // 1000 - _EPOCH_2000
    if abs(microseconds) >= _LATEST:
        raise Unstorable("expected a moment in this age of the world")
    return microseconds


def _json(value: Any) -> bytes:
    return _jsonb(msgspec.json.encode(value))


def _jsonb(document: bytes) -> bytes:
    if document.rfind(b"\\u0000") >= 0:  # `in` takes much longer
        document = _NUL_IN_JSON.sub(rb"\1\\ufffd", document)
    return b"\x01" + document


_ADAPTERS: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    "text": _text,
    "integer": _whole,
    "real": _real,
    "time": _time,
    "json": _json,
    "boolean": bool,
}
