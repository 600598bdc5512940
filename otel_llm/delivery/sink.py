"""
The seam for sinks: open, send, close.

A sink turns a batch of encoded records into somebody's storage and says, record by record, what became of it. It does
not batch, retry, price, log or know OpenTelemetry: its courier does the first two, the rest happened before.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from msgspec import Struct

from otel_llm.telemetry.event import Event


class Record(Struct, frozen=True):
    """
    One event with its body, encoded in the sink's format.
    """

    event: Event
    body: bytes
    content_type: str = "application/json"


class Batch(Struct, frozen=True):
    """
    What one `send` gets: at least one record, in the order of the journal.
    """

    records: Sequence[Record]
    join: Callable[[Iterable[bytes]], bytes] | None = None
    """Makes one document of several bodies, in formats that can hold several events (OTLP's)."""

    @property
    def size(self) -> int:
        """The bodies' bytes together."""
        return sum(len(record.body) for record in self.records)


class Delivered(Struct, frozen=True, gc=False):
    """
    The record is where it should be (or was there already).
    """


class Retry(Struct, frozen=True, gc=False):
    """
    The record should be sent again; `after` is what the server asked for, in seconds.
    """

    after: float | None = None
    reason: str | None = None
    """What the server said, such as `HTTP 503`; shown to operators."""


class Rejected(Struct, frozen=True, gc=False):
    """
    The record will never be taken; it goes to the dead letters with this reason.
    """

    reason: str


Outcome = Delivered | Retry | Rejected

DELIVERED = Delivered()


class Receipt(Struct, frozen=True):
    """
    What became of a batch: one outcome for all its records, or one for each.
    """

    outcomes: Outcome | Sequence[Outcome]

    @classmethod
    def delivered(cls) -> "Receipt":
        """
        Give the receipt of a batch that arrived whole.
        """
        return _ALL_DELIVERED

    def of(self, batch: Batch) -> Sequence[Outcome]:
        """
        Give one outcome for each record of `batch`; raises `ValueError` when the sink told another number.

        Raises `TypeError` when one is no outcome.
        """
        if isinstance(self.outcomes, Outcome):
            return (self.outcomes,) * len(batch.records)
        if len(self.outcomes) != len(batch.records):
            raise ValueError(f"the sink gave {len(self.outcomes)} outcomes for {len(batch.records)} records")
        if not all(isinstance(outcome, Outcome) for outcome in self.outcomes):
            raise TypeError("an outcome is Delivered, Retry or Rejected")
        return self.outcomes


_ALL_DELIVERED = Receipt(DELIVERED)


@runtime_checkable
class Sink(Protocol):
    """
    Where records go. `Options` is a frozen, keyword-only dataclass.

    An exception from `open` or `send` means: open again, send all again. Operators see its class and line,
    its status and host; only what `NotDelivered` says is shown as it is. `Unauthorized` stops the sink at once.

    A sink that has a number `batches_in_flight` is sent so many batches at once, if `async_workers` is less.
    """

    Options: ClassVar[type[Any]]

    def __init__(self, options: Any) -> None: ...

    async def open(self) -> None:
        """
        Connect, or raise; called again after a failure.
        """

    async def send(self, batch: Batch) -> Receipt:
        """
        Hand over one batch and say what became of each record.
        """

    async def close(self) -> None:
        """
        Let go of connections; everything sent has been acknowledged.
        """


class BlockingSink(Protocol):
    """
    A sink whose client blocks: the same methods without `async`, run in a thread of ours. Inherit from it.
    """

    Options: ClassVar[type[Any]]

    def __init__(self, options: Any) -> None: ...

    def open(self) -> None:
        """
        Connect, or raise; called again after a failure.
        """

    def send(self, batch: Batch) -> Receipt:
        """
        Hand over one batch and say what became of each record.
        """

    def close(self) -> None:
        """
        Let go of connections; everything sent has been acknowledged.
        """
