"""
What an OTLP receiver says of a request that it took: how many of the records it refused all the same.

The answer is an `ExportLogsServiceResponse`, in JSON or in protobuf as the request was.
"""

from typing import Final

import msgspec
from msgspec import Struct

from otel_llm.delivery.http_answer import Answer

_PARTIAL_SUCCESS, _REJECTED, _MESSAGE = 0x0A, 0x08, 0x12
"""Tags: the field's number, then its wire type."""
_VARINT, _WITH_LENGTH = 0, 2
_BITS: Final = 63


class PartialSuccess(Struct, frozen=True, rename="camel"):
    """
    How many records of a request were refused, and why.
    """

    rejected_log_records: int = 0
    error_message: str = ""


class _Response(Struct, rename="camel"):
    partial_success: PartialSuccess | None = None


def partial_success(answer: Answer) -> PartialSuccess:
    """
    Read it from an answer; what is no answer of an OTLP receiver says that nothing was refused.
    """
    read = _from_protobuf if "protobuf" in answer.headers.get("content-type", "") else _from_json
    try:
        return read(answer.body)
    except (ValueError, IndexError):  # msgspec's errors are ValueErrors
        return PartialSuccess()


def _from_json(body: bytes) -> PartialSuccess:
    # JSON has 64 bits as text.
    return msgspec.json.decode(body, type=_Response, strict=False).partial_success or PartialSuccess()


def _from_protobuf(body: bytes) -> PartialSuccess:
    _, texts = _fields(body)
    numbers, texts = _fields(texts.get(_PARTIAL_SUCCESS, b""))
    return PartialSuccess(numbers.get(_REJECTED, 0), texts.get(_MESSAGE, b"").decode())


def _fields(message: bytes) -> tuple[dict[int, int], dict[int, bytes]]:
    """
    Give a message's numbers and its texts, by their tags.
    """
    numbers: dict[int, int] = {}
    texts: dict[int, bytes] = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, place = _varint(message, place)
        if tag & 7 == _VARINT:
            numbers[tag] = number
        elif tag & 7 == _WITH_LENGTH:
            texts[tag] = message[place : place + number]
            place += number
        else:
            raise ValueError("a field of another kind")
    return numbers, texts


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """
    Give the number that begins at a place, and the place behind it.
    """
    number = 0
    for shift in range(0, _BITS, 7):
        number |= (message[place] & 0x7F) << shift
        place += 1
        if message[place - 1] < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return number, place
    raise ValueError("a number that is too large")
