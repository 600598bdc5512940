"""
Values that every reader can take.

A lone surrogate, an integer wider than 64 bits, an object nobody can write or 10,000 lists in each other cost an
exporter the whole batch they are in. So they are replaced before anything is emitted:

- a lone surrogate by U+FFFD; NUL, NaN and the infinities are values like others, and stay
- an integer beyond 64 bits by its digits; as a count or a parameter of a call it is unknown
- what is nested deeper than `DEEPEST` by its JSON, a circle by `[circular]`
- an object of any other kind by what `str` says of it
- of more than `MOST_CHARACTERS`, the longest texts are cut

Whether there is anything to replace is asked of the MessagePack encoder first, which is quicker than any look of ours.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from itertools import chain, islice
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, astuple

from otel_llm.call import Call, Content
from otel_llm.telemetry.event import Event

DEEPEST: Final = 30
"""Containers in each other; protobuf's readers give up at 100 messages, and a map in a record is three."""

MOST_CHARACTERS: Final = 1_000_000
"""Of all texts of a record together, so that it stays below the 4 MiB of a gRPC message."""

MOST_VALUES: Final = 100_000
"""Values of a record that are kept."""

_MOST_OF_A_FACT: Final = 10_000

CIRCULAR: Final = "[circular]"
TOO_DEEP: Final = "[nested too deeply]"
LEFT_OUT: Final = "[left out]"

S = TypeVar("S", bound=Struct)


def is_safe(value: object) -> bool:
    """
    Tell whether there is nothing to replace; how deep things are nested is not looked at.
    """
    try:
        data = _encode(value)
        wide = _may_hold_wide_integer(data) and _spells_wide_integer(value) and _holds_wide_integer(value)
    except Exception:  # noqa: BLE001 - objects that are not ours may raise anything
        return False
    return len(data) <= MOST_CHARACTERS and not wide


_encode = msgspec.msgpack.Encoder().encode


def safe_call(call: Call) -> Call:
    """
    Give the call, or one in its place that can be told to everybody.
    """
    return call if is_safe(call) else _safe_struct(call)


def safe_content(content: Content) -> Content:
    """
    Give the content, or one in its place that can be told to everybody.
    """
    return content if is_safe(content) else Content(**_replaced(asdict(content)))


def safe_event(event: Event) -> Event:
    """
    Give an event in this one's place whose attributes, body and names everybody can read.
    """
    return msgspec.structs.replace(
        event,
        name=safe_text(event.name),
        severity_text=safe_text(event.severity_text),
        attributes=safe(event.attributes),
        body=safe(event.body),
    )


def safe(value: Any) -> Any:
    """
    Give the value, or one in its place, as text, bytes, number, bool, None, list or dict.
    """
    return value if _is_plain(value) and is_safe(value) else _replaced(value)


def _replaced(value: Any) -> Any:
    plain = _Replacing().plain(value)
    lengths = list(_lengths(plain))
    if sum(lengths) <= MOST_CHARACTERS:
        return plain
    return _cut(plain, _longest(lengths))


def safe_text(text: str) -> str:
    """
    Give the text as UTF-8 can hold it: two surrogates that belong together become one character.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def safe_name(name: str | None) -> str | None:
    """
    Give a name as spans and metrics may carry it.
    """
    if name is None or (name.isascii() and len(name) <= _MOST_OF_A_FACT):
        return name
    return safe_text(name)[:_MOST_OF_A_FACT]


def as_text(value: object) -> str:
    """
    Give what is nested too deeply as JSON.
    """
    if _size(value) >= MOST_VALUES:
        return TOO_DEEP
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return TOO_DEEP


def is_wide(number: int) -> bool:
    """
    Tell whether an integer needs more than 64 bits, one of them for the sign.
    """
    return not -_BEYOND <= number < _BEYOND


_BEYOND: Final = 1 << 63


def _may_hold_wide_integer(data: bytes) -> bool:
    """
    Look for MessagePack's mark of an unsigned 64-bit integer with its highest bit set; texts and times may look so.

    Of ten calls one has such a time.
    """
    last = len(data) - 1
    at = data.find(b"\xcf", 0, last)
    while at >= 0:
        if data[at + 1] & 0x80:
            return True
        at = data.find(b"\xcf", at + 1, last)
    return False


def _spells_wide_integer(value: object) -> bool:
    """
    Look for 2^63 or more in the value's JSON; only digits in a text may look so.
    """
    return _WIDE.search(msgspec.json.encode(value)) is not None


_WIDE: Final = re.compile(rb"9[2-9]\d{17}|\d{20}")


def _holds_wide_integer(value: Any) -> bool:
    if value is None or isinstance(value, str | float):
        return False
    if isinstance(value, int):
        return is_wide(value)
    if isinstance(value, Struct):
        value = astuple(value)
    elif isinstance(value, Mapping):
        value = value.values()
    elif not _has_parts(value):
        return False
    return any(map(_holds_wide_integer, value))


def _is_plain(value: Any) -> bool:
    """
    Tell whether there are only the types that OpenTelemetry has, not too many and not too deep in each other.
    """
    for _, level in zip(range(DEEPEST + 1), _levels(value), strict=False):
        kinds = {*map(type, level)}
        if kinds <= _SCALARS:
            return True
        if not kinds <= _PLAIN:
            return False
    return False


def _levels(value: Any) -> Iterator[list[Any]]:
    """
    Give the value, then all its parts, then all theirs, as long as they are not too many.
    """
    level = [value]
    left = MOST_VALUES
    while level and left > 0:
        yield level
        left -= len(level)
        level = list(islice(chain.from_iterable(map(_parts, level)), left))


def _size(value: Any) -> int:
    return sum(map(len, _levels(value)))


def _parts(value: Any) -> Iterable[Any]:
    kind = type(value)
    if kind is dict:
        # A name that is no text makes the map one that is not plain.
        return value.values() if {*map(type, value)} <= {str} else (_NOT_PLAIN,)
    return value if kind in _NESTING else ()


_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_NESTING: Final = frozenset({dict, list, tuple})
_PLAIN: Final = _SCALARS | _NESTING
_NOT_PLAIN: Final = object()


def _safe_struct(struct: S) -> S:
    return type(struct)(**{name: _safe_field(value) for name, value in asdict(struct).items()})


def _safe_field(value: Any) -> Any:
    if isinstance(value, Struct):
        return _safe_struct(value)
    if isinstance(value, tuple):
        return tuple(map(_safe_field, islice(value, MOST_VALUES)))
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and is_wide(value):
        return None
    return _cut(_replaced(value), _MOST_OF_A_FACT)


class _Replacing:
    """
    One walk through a value.
    """

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._around: set[int] = set()

    def plain(self, value: Any, depth: int = DEEPEST) -> Any:
        kind = type(value)
        self._left -= 1
        if kind in _AS_THEY_ARE:
            return value
        if kind is str:
            return safe_text(value)
        return self._container(value, depth) if _has_parts(value) else _scalar(value)

    def _container(self, value: Any, depth: int) -> Any:
        if id(value) in self._around:
            return CIRCULAR
        if self._left <= 0:
            return LEFT_OUT
        if depth == 0:
            self._left -= _size(value)
            return as_text(value) if self._left > 0 else TOO_DEEP
        self._around.add(id(value))
        try:
            return self._dict(value, depth - 1) if isinstance(value, Mapping) else self._list(value, depth - 1)
        except Exception:  # noqa: BLE001 - containers that are not ours may raise anything
            return _unreadable(value)
        finally:
            self._around.discard(id(value))

    def _dict(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        items = islice(value.items(), self._left)
        return {_key(name): self.plain(part, depth) for name, part in items}

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        return [self.plain(part, depth) for part in islice(value, self._left)]


_AS_THEY_ARE: Final = frozenset({bool, float, bytes, type(None)})


def _has_parts(value: object) -> bool:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return False
    return isinstance(value, Mapping | Sequence | AbstractSet)


def _scalar(value: Any) -> Any:
    """
    Give a value that holds no others; the methods of a subclass are not asked.
    """
    if isinstance(value, Enum):
        return _scalar(value.value) if value.value is not value else value.name
    if isinstance(value, str):
        return safe_text(str.__str__(value))
    if isinstance(value, int):
        return _integer(int.__int__(value))
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return float(value) if isinstance(value, Decimal) else _shown(value)


def _integer(value: int) -> int | str:
    if not is_wide(value):
        return value
    try:
        return str(value)
    except ValueError:  # Python does not spell integers of more than 4,300 digits
        return f"[an integer of {value.bit_length()} bits]"


def _key(name: Any) -> str:
    return safe_text(name) if type(name) is str else str(_scalar(name))


def _shown(value: object) -> str:
    try:
        return safe_text(str(value))
    except Exception:  # noqa: BLE001 - objects that are not ours may raise anything
        return _unreadable(value)


def _unreadable(value: object) -> str:
    return f"[unreadable {type(value).__name__}]"


def _lengths(value: Any) -> Iterator[int]:
    if isinstance(value, str | bytes):
        yield len(value)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield len(name)
            yield from _lengths(part)
    elif isinstance(value, list):
        for part in value:
            yield from _lengths(part)


def _longest(lengths: list[int]) -> int:
    """
    Give the length to which the longest texts have to be cut so that all fit; shorter ones stay whole.
    """
    left = MOST_CHARACTERS
    for others, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length * others > left:
            return left // others
        left -= length
    return MOST_CHARACTERS


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str | bytes):
        return value[:longest]
    if isinstance(value, dict):
        return {name[:longest]: _cut(part, longest) for name, part in value.items()}
    if isinstance(value, list):
        return [_cut(part, longest) for part in value]
    return value
