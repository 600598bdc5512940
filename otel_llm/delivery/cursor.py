"""
How far a sink has come, on disk.

The file has two places, written in turns, each with a checksum: whatever becomes of one write, the other place tells
where the sink was before. Nothing is replaced, which would take a hundred times as long, and a full disk has the room.
"""

import errno
import logging
import os
import zlib
from pathlib import Path

import msgspec

from otel_llm.delivery import files

logger = logging.getLogger(__name__)

SUFFIX = ".cursor"
_PLACE = 64
"""Bytes of a place, more than the longest cursor takes."""


class CursorFile:
    """
    The file in which one sink's cursor is kept, in the journal's folder, wherever that lies.
    """

    def __init__(self, sink: str) -> None:
        self._name = f"{sink}{SUFFIX}"
        self._turn = 0

    def read(self, folder: Path) -> int:
        """
        Give the latest cursor that was written whole; 0 when there is none.
        """
        try:
            data = (folder / self._name).read_bytes()
        except OSError:
            data = b""
        places = [_sequence(data[:_PLACE]), _sequence(data[_PLACE:])]
        sequence = max(places)
        if sequence < 0:
            words = "the cursor %s cannot be read, its sink gets everything that is there once more"
            logger.warning(words, self._name)
            return 0
        self._turn = 1 - places.index(sequence)
        return sequence

    def write(self, folder: Path, sequence: int) -> None:
        """
        Keep a cursor; raises `OSError`, and then the one before is there still.
        """
        path = folder / self._name
        descriptor = files.open_private(path, os.O_WRONLY | os.O_CREAT)
        try:
            written = os.pwrite(descriptor, _line(sequence), self._turn * _PLACE)
        finally:
            os.close(descriptor)
        if written < _PLACE:
            raise OSError(errno.ENOSPC, "no space is left for the whole of", str(path))
        self._turn = 1 - self._turn


def _line(sequence: int) -> bytes:
    check = zlib.crc32(b"%d" % sequence)
    return msgspec.json.encode({"sequence": sequence, "check": check}).ljust(_PLACE - 1) + b"\n"


def _sequence(line: bytes) -> int:
    """
    Read a place; -1 when it is empty or damaged.
    """
    try:
        sequence = msgspec.json.decode(line, type=dict[str, int])["sequence"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return -1
    return sequence if sequence >= 0 and line == _line(sequence) else -1
