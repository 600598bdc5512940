"""
Raw values, from the environment or a file, turned into what an annotation asks for.

`convert` knows the plain types; a type that needs its own reading carries its reader: `Annotated[int, read_size]`.
"""

import difflib
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from otel_llm.settings.secret import Secret

Reader = Callable[[object], Any]
Number = TypeVar("Number", int, float)


class Unfit(ValueError):  # noqa: N818 - it says what the value is
    """
    A raw value that is not what was expected; the message never holds the value.
    """

    def __init__(self, expected: str, nearest: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.nearest = nearest


def convert(raw: object, hint: Any) -> Any:
    """
    Turn `raw` into the type that the annotation `hint` names, or raise `Unfit`.
    """
    if reader := _READERS.get(hint):
        return reader(raw)
    if generic := _GENERIC_READERS.get(get_origin(hint)):
        return generic(raw, get_args(hint))
    return _instance(raw, hint)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """
    Give the known name that looks most like `name`, if any does.
    """
    spellings = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), spellings, n=1)
    return spellings[found[0]] if found else None


def listed(names: Iterable[object], joint: str = "or") -> str:
    """
    Write names as one does in a sentence: `a, b or c`.
    """
    *most, last = map(str, names)
    return f"{', '.join(most)} {joint} {last}" if most else last


def shown(raw: object, hint: Any = None) -> str:
    """
    Write a raw value for a report, unless its type may hold a secret.
    """
    if isinstance(raw, str | int | float) and not _may_hide_a_secret(hint):
        return _shortened(_CREDENTIALS.sub(r"\1***@", repr(raw)))
    return _KINDS.get(type(raw), f"a {type(raw).__name__}")


_CREDENTIALS: Final = re.compile(r"(://)[^/@\s]+@")
_KINDS: Final = {
    str: "some text",
    int: "a number",
    float: "a number",
    bool: "a yes or no",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    type(None): "nothing",
}
_LONGEST_SHOWN: Final = 80


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _may_hide_a_secret(hint: Any) -> bool:
    if hint is Secret or hint is dict or get_origin(hint) in {dict, Mapping}:
        return True
    return any(_may_hide_a_secret(argument) for argument in get_args(hint))


def _annotated(raw: object, arguments: tuple[Any, ...]) -> Any:
    plain, *notes = arguments
    readers = [note for note in notes if callable(note)]
    return readers[0](raw) if readers else convert(raw, plain)


def _union(raw: object, members: tuple[Any, ...]) -> Any:
    candidates = [member for member in members if member is not types.NoneType]
    if raw is None and len(candidates) < len(members):
        return None
    if type(raw) in candidates:
        return raw
    unfit: Unfit | None = None
    for member in sorted(candidates, key=lambda member: member is str):
        try:
            return convert(raw, member)
        except Unfit as caught:
            unfit = unfit or caught
    raise unfit or Unfit("nothing")


def _literal(raw: object, choices: tuple[Any, ...]) -> Any:
    spelling = str(raw).strip().lower()
    for choice in choices:
        if str(choice).lower() == spelling:
            return choice
    raise Unfit(listed(choices), nearest(spelling, map(str, choices)))


def _tuple(raw: object, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(convert(item, arguments[0]) for item in _items(raw))


def _list(raw: object, arguments: tuple[Any, ...]) -> list[Any]:
    return list(_tuple(raw, arguments))


def _mapping(raw: object, arguments: tuple[Any, ...]) -> dict[str, Any]:
    return {str(key): convert(value, arguments[1]) for key, value in _pairs(raw)}


def _items(raw: object) -> Iterable[object]:
    if isinstance(raw, str):
        decoded: list[object] | None = _decoded(raw, "[", list)
        return decoded if decoded is not None else [item.strip() for item in raw.split(",") if item.strip()]
    if isinstance(raw, Iterable) and not isinstance(raw, bytes | Mapping):
        return raw
    if isinstance(raw, int | float | Path):
        return (raw,)
    raise Unfit("a list, or text separated by commas")


def _pairs(raw: object) -> Iterable[tuple[object, object]]:
    if isinstance(raw, Mapping):
        return raw.items()
    if not isinstance(raw, str):
        raise Unfit("a mapping, or text like k=v,k2=v2")
    decoded: dict[str, object] | None = _decoded(raw, "{", dict)
    if decoded is not None:
        return decoded.items()
    return [_pair(item) for item in raw.split(",") if item.strip()]


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Unfit("pairs like k=v,k2=v2, or a JSON object")
    return key.strip(), value.strip()


def _decoded(text: str, opening: str, kind: type[Any]) -> Any:
    if not text.lstrip().startswith(opening):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Unfit("valid JSON") from None
    return value if isinstance(value, kind) else None


def _instance(raw: object, hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint[_literal(raw, tuple(hint.__members__))]
    if isinstance(hint, type) and isinstance(raw, hint):
        return raw
    raise Unfit(f"a {getattr(hint, '__name__', hint)}")


def read_text(raw: object) -> str:
    """
    Read text; a bare number counts as text, YAML's yes and no do not.
    """
    if isinstance(raw, bool) or not isinstance(raw, str | int | float | Path):
        raise Unfit("text (in quotes, if it looks like something else)")
    return str(raw)


def read_flag(raw: object) -> bool:
    """
    Read a yes or no.
    """
    if isinstance(raw, bool):
        return raw
    try:
        return _FLAGS[str(raw).strip().lower()]
    except KeyError:
        raise Unfit("true or false") from None


_FLAGS: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def read_integer(raw: object) -> int:
    """
    Read a whole number.
    """
    number = _number(raw, "a whole number")
    if not number.is_integer():
        raise Unfit("a whole number")
    return raw if isinstance(raw, int) else int(str(raw).strip()) if isinstance(raw, str) else int(number)


def read_real(raw: object) -> float:
    """
    Read a finite number.
    """
    return _number(raw, "a number")


def _number(raw: object, expected: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise Unfit(expected)
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        raise Unfit(expected) from None
    if not math.isfinite(number):
        raise Unfit(expected)
    return number


def read_count(raw: object) -> int:
    """
    Read a whole number above 0.
    """
    return _above_zero(read_integer(raw), "a whole number above 0")


def read_rate(raw: object) -> float:
    """
    Read a number above 0.
    """
    return _above_zero(read_real(raw), "a number above 0")


def read_share(raw: object) -> float:
    """
    Read a number from 0 to 1.
    """
    share = read_real(raw)
    if not 0 <= share <= 1:
        raise Unfit("a number from 0 to 1")
    return share


def read_size(raw: object) -> int:
    """
    Read a number of bytes such as `512 MiB`, `10MB` or `1048576`.
    """
    expected = "a size above 0 such as 512 MiB"
    return _above_zero(round(_measure(raw, _SIZE, _BYTES, expected)), expected)


def read_duration(raw: object) -> float:
    """
    Read seconds from `7d`, `1h30m`, `500ms` or a bare number of seconds.
    """
    expected = "a duration above 0 such as 7d, 12h or 90s"
    return _above_zero(_measure(raw, _DURATION, _SECONDS, expected), expected)


def _measure(raw: object, part: re.Pattern[str], units: Mapping[str, float], expected: str) -> float:
    text = str(raw).strip().lower()
    parts = part.findall(text)
    if isinstance(raw, bool) or not parts or part.sub("", text).strip():
        raise Unfit(expected)
    try:
        return math.fsum(float(number) * units[unit] for number, unit in parts)
    except (KeyError, OverflowError):
        raise Unfit(expected) from None


_SIZE: Final = re.compile(r"(?<![\d.a-z])(\d+(?:\.\d+)?)\s*([a-z]*)")
_BYTES: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_DURATION: Final = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*([a-z]*)")
_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read_patterns(raw: object) -> tuple[str, ...]:
    """
    Read regular expressions: a list of them, or one.
    """
    patterns = (raw,) if isinstance(raw, str) and not raw.lstrip().startswith('["') else _items(raw)
    return tuple(_pattern(read_text(pattern)) for pattern in patterns)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise Unfit(f"a regular expression ({error.msg})") from None
    return text


def read_path(raw: object) -> Path:
    """
    Read a path; `~` is the home directory.
    """
    if not isinstance(raw, str | Path) or not str(raw):
        raise Unfit("a path")
    try:
        return Path(raw).expanduser()
    except RuntimeError:
        raise Unfit("a path without ~, as no home directory is known") from None


def _secret(raw: object) -> Secret:
    return raw if isinstance(raw, Secret) else Secret(read_text(raw))


def _above_zero(number: Number, expected: str) -> Number:
    if number <= 0:
        raise Unfit(expected)
    return number


Count = Annotated[int, read_count]
"""A whole number above 0."""
Rate = Annotated[float, read_rate]
"""A number above 0."""
Share = Annotated[float, read_share]
"""A number from 0 to 1."""
Size = Annotated[int, read_size]
"""Bytes, also written like `512 MiB`."""
Duration = Annotated[float, read_duration]
"""Seconds, also written like `7d`."""
Patterns = Annotated[tuple[str, ...], read_patterns]
"""Regular expressions."""

_READERS: Final[dict[Any, Reader]] = {
    str: read_text,
    bool: read_flag,
    int: read_integer,
    float: read_real,
    Path: read_path,
    Secret: _secret,
    tuple: lambda raw: tuple(_items(raw)),
    list: lambda raw: list(_items(raw)),
    dict: lambda raw: dict(_pairs(raw)),
    Mapping: lambda raw: dict(_pairs(raw)),
    object: lambda raw: raw,
    Any: lambda raw: raw,
}

_GENERIC_READERS: Final[dict[Any, Callable[[object, tuple[Any, ...]], Any]]] = {
    Annotated: _annotated,
    Union: _union,
    types.UnionType: _union,
    Literal: _literal,
    tuple: _tuple,
    list: _list,
    dict: _mapping,
    Mapping: _mapping,
}
