"""When a record that waits was made; read beside its readers, whose places do not change."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from otel_llm.delivery import files
from otel_llm.delivery.frames import Frame, scan
from otel_llm.delivery.reader import CHUNK, Source
from otel_llm.delivery.store import Store
from otel_llm.telemetry.event import Event


def made_ns(source: Source, sequence: int) -> int | None:
    """
    Give the Unix nanoseconds of a journal's first record from a sequence number on; None when it cannot be read.
    """
    near = source.recent(sequence) or source.beyond(sequence)
    if near:
        return _time(near[0])
    return None if source.store is None else made_on_disk(source.store, sequence)


def made_on_disk(store: Store, sequence: int) -> int | None:
    """
    Give the same of what lies in segments.
    """
    segment = store.holding(sequence)
    while segment is not None:
        try:
            made = _made_in(segment.path, sequence)
        except FileNotFoundError:  # it has just been given up
            made = None
        if made is not None:
            return made
        segment = store.after(segment)
    return None


@lru_cache(maxsize=64)
def _made_in(path: Path, sequence: int) -> int | None:
    """Written records never change, and who asks for one will ask again."""
    for frame in _frames(path):
        if frame.sequence >= sequence and (made := _time(frame)) is not None:
            return made
    return None


def _frames(path: Path) -> Iterator[Frame]:
    with os.fdopen(files.open_private(path, os.O_RDONLY), "rb") as file:
        data = b""
        while piece := file.read(CHUNK):
            found = scan(data + piece, last=False)
            yield from found.frames
            data = (data + piece)[found.done :]


def _time(frame: Frame) -> int | None:
    try:
        return (frame.event or Event.decode(frame.payload)).timestamp_ns
    except msgspec.DecodeError:
        return None
