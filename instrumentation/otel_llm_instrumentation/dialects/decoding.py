"""
JSON into typed structs, at the speed of msgspec and without losing a body to one odd value.
"""

import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct

T = TypeVar("T", bound=Struct)

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises at bytes that are not the JSON object asked for."""

_ODD: Final = (msgspec.ValidationError, UnicodeDecodeError)


class Tolerant(Generic[T]):
    """
    A decoder that leaves out the values whose type is wrong and keeps the rest; every field needs a default.
    """

    __slots__ = ("_kind", "strict")

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self.strict = msgspec.json.Decoder(kind).decode

    def decode(self, data: bytes | Raw) -> T:
        """
        Read one JSON object; raises `msgspec.DecodeError` when the bytes are something else.
        """
        try:
            return self.strict(data)
        except _ODD:
            mended: T = _mend(data, self._kind)
            return mended
        except msgspec.DecodeError:
            return self.decode(_without_lone_surrogates(data))

    def attempt(self, data: bytes | Raw) -> T | None:
        """
        Read one JSON object; give None when the bytes are something else.
        """
        try:
            return self.strict(data)
        except UNREADABLE:
            return self._attempt_again(data)

    def _attempt_again(self, data: bytes | Raw) -> T | None:
        try:
            return self.decode(data)
        except UNREADABLE:
            return None


def plain(data: bytes) -> dict[str, Any]:
    """
    Give a JSON object as plain Python; empty when the bytes are something else.
    """
    try:
        value = _decode(data)
    except UNREADABLE:
        return {}
    return value if isinstance(value, dict) else {}


def parsed(text: str) -> object:
    """
    Give the value that a JSON text stands for, or the text itself when it is not JSON.
    """
    try:
        return _decode(text.encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return text


def _decode(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return msgspec.json.decode(_without_lone_surrogates(data))


def _without_lone_surrogates(data: bytes | Raw) -> bytes:
    """
    Replace the halves of characters that JSON lets stand alone, and msgspec does not; raises when there are none.

    A provider that cuts a stream inside an emoji sends them.
    """
    whole = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], bytes(data))
    if whole == bytes(data):
        raise msgspec.DecodeError("this is not JSON")
    return whole


_ESCAPE: Final = re.compile(
    rb"""
    \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # both halves
    | \\u([dD][89a-fA-F][0-9a-fA-F]{2})  # one half
    | \\.
    """,
    re.VERBOSE | re.DOTALL,
)


def _mend(data: bytes | Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except _ODD:
        for member in get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,):
            if get_origin(member) is list:
                return list(_mended_items(data, *get_args(member)))
            if isinstance(member, type) and issubclass(member, Struct):
                return member(**dict(_mended_fields(data, member)))
        raise


def _mended_fields(data: bytes | Raw, kind: type[Struct]) -> Iterator[tuple[str, Any]]:
    values = msgspec.json.decode(data, type=dict[str, Raw])
    for field in msgspec.structs.fields(kind):
        if field.encode_name in values:
            try:
                yield field.name, _mend(values[field.encode_name], field.type)
            except UNREADABLE:
                continue


def _mended_items(data: bytes | Raw, kind: Any) -> Iterator[Any]:
    for value in msgspec.json.decode(data, type=list[Raw]):
        try:
            yield _mend(value, kind)
        except UNREADABLE:
            continue
