"""Records that a sink will never take, kept as JSON lines with the reason."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from otel_llm.delivery import files
from otel_llm.telemetry.event import Event

FOLDER = "dead-letters"


class DeadLetter(Struct, frozen=True):
    """
    One record with the reason why it was given up.
    """

    time: str
    sink: str
    reason: str
    attempts: int
    event_id: str
    event: dict[str, object]
    """The sink's own copy, after `content` and `redact`."""


class DeadLetters:
    """
    The file of one sink's dead letters, shared by all processes of a group.
    """

    def __init__(self, group: Path, sink: str) -> None:
        self.path = group / FOLDER / f"{sink}.jsonl"
        self._sink = sink

    def letter(self, event: Event, reason: str, attempts: int) -> DeadLetter:
        """
        Write on the envelope what happened.
        """
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        return DeadLetter(now, self._sink, reason, attempts, event.id, fields)

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        """
        Write the letters down, and wait for the disk: the journal lets go of them. Raises `OSError` or `JournalError`.
        """
        files.private_folder(self.path.parent.parent)
        files.private_folder(self.path.parent)
        files.append_lines(self.path, b"".join(_encode(letter) + b"\n" for letter in letters), synced=True)


_encode = msgspec.json.Encoder(decimal_format="number").encode
