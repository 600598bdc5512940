"""
A sink that keeps what it was sent and answers as it was told.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_llm.delivery.sink import Batch, Outcome, Receipt, Record
from otel_llm.telemetry.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingOptions:
    """
    Where a recording sink writes besides its own memory.
    """

    path: str | None = None
    """File that gets every record's body as one line, for a reader in another process."""


class RecordingSink:
    """
    Keeps every batch; `answer_with` scripts the receipts of the next ones, then all is delivered.
    """

    Options = RecordingOptions

    def __init__(self, options: RecordingOptions | None = None) -> None:
        self.options = options or RecordingOptions()
        self.batches: list[Batch] = []
        self.opened = 0
        self.closed = 0
        self._script: deque[Outcome | Sequence[Outcome] | Exception] = deque()

    @property
    def records(self) -> list[Record]:
        """All records of all batches, in the order they came; a record that was retried stands here twice."""
        return [record for batch in self.batches for record in batch.records]

    @property
    def events(self) -> list[Event]:
        """The events of `records`."""
        return [record.event for record in self.records]

    def answer_with(self, *answers: Outcome | Sequence[Outcome] | Exception) -> None:
        """
        Script the next sends: an outcome for the whole batch, one for each record, or an exception to raise.
        """
        self._script.extend(answers)

    async def open(self) -> None:
        self.opened += 1

    async def send(self, batch: Batch) -> Receipt:
        self.batches.append(batch)
        answer = self._script.popleft() if self._script else None
        if isinstance(answer, Exception):
            raise answer
        if self.options.path is not None:
            _append(Path(self.options.path), batch)
        return Receipt.delivered() if answer is None else Receipt(answer)

    async def close(self) -> None:
        self.closed += 1


def _append(path: Path, batch: Batch) -> None:
    with path.open("ab") as file:
        file.write(b"".join(record.body + b"\n" for record in batch.records))
