"""
How records lie in a segment file.

A segment starts with `MAGIC` and a version, written twice, so that a damaged one is not taken for a later one. Each
frame is a marker, the payload's length, a checksum over sequence number and payload, the sequence number, the payload.
The marker is no UTF-8, so no text looks like it: after a damaged frame the reader goes on at the next one, and the
sequence numbers tell how many were lost.
"""

import struct
import zlib
from typing import NamedTuple

from otel_llm.telemetry.event import Event

MAGIC = b"OTELLLMJ"
VERSION = 1
START = MAGIC + struct.pack("<HH", VERSION, VERSION ^ 0xFFFF)
"""The first bytes of every segment."""

_MARKER = b"\xff\xfeLJ"
_HEAD = struct.Struct("<4sIIQ")
MAX_PAYLOAD = 256 * 1024 * 1024
"""A length beyond this is taken for damage."""
_pack = _HEAD.pack
_crc = zlib.crc32


class Frame(NamedTuple):
    """
    One record as it lies in a segment.
    """

    sequence: int
    payload: bytes
    end: int = 0
    """The position behind it in the bytes it was found in."""
    event: Event | None = None
    """What the payload says, where that is known without decoding it."""


class Scan(NamedTuple):
    """
    What a piece of a segment holds, and how many of its bytes are done with.
    """

    frames: list[Frame]
    done: int


def pack(sequence: int, payload: bytes) -> bytes:
    """
    Give the bytes of one frame.
    """
    return _pack(_MARKER, len(payload), _checksum(sequence, payload), sequence) + payload


def version(start: bytes) -> int | None:
    """
    Read the version from a segment's first bytes; None when they are damaged or missing.
    """
    if len(start) < len(START) or not start.startswith(MAGIC):
        return None
    number, upside_down = struct.unpack_from("<HH", start, len(MAGIC))
    return int(number) if number ^ upside_down == 0xFFFF else None  # noqa: PLR2004 - all bits differ


def scan(data: bytes, *, last: bool) -> Scan:
    """
    Find the undamaged frames; one that is cut off at the end is waited for unless this is the `last` piece.
    """
    found: list[Frame] = []
    at = 0
    while (start := data.find(_MARKER, at)) >= 0:
        frame = _frame(data, start)
        if frame is not None:
            found.append(frame)
            at = frame.end
        elif not last and _cut_off(data, start):
            return Scan(found, start)
        else:
            at = start + 1
    return Scan(found, len(data) if last else max(at, len(data) - len(_MARKER) + 1))


def count_damaged(data: bytes) -> int:
    """
    Give the number of frames that begin in bytes without a whole one, or one where a frame's begin is damaged, too.
    """
    return max(data.count(_MARKER), 1) if data else 0


def _checksum(sequence: int, payload: bytes) -> int:
    return _crc(payload, (sequence ^ sequence >> 32) & 0xFFFFFFFF)


def _frame(data: bytes, at: int) -> Frame | None:
    begin = at + _HEAD.size
    if begin > len(data):
        return None
    _, length, checksum, sequence = _HEAD.unpack_from(data, at)
    payload = data[begin : begin + length]
    if len(payload) < length or _checksum(sequence, payload) != checksum:
        return None
    return Frame(sequence, payload, begin + length)


def _cut_off(data: bytes, at: int) -> bool:
    begin = at + _HEAD.size
    if begin > len(data):
        return True
    length: int = _HEAD.unpack_from(data, at)[1]
    return length <= MAX_PAYLOAD and begin + length > len(data)
