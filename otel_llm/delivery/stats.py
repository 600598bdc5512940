"""
What became of every record, per sink.

`produced + adopted = sent + filtered + dropped + dead + pending + in flight` holds at any moment: a record is pending
from the moment it is appended or inherited until it is on its way or settled.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from otel_llm.delivery import native

State = Literal["idle", "open", "retrying", "broken", "off"]
"""`broken`: the circuit breaker lets no batch through; `off`: the sink cannot be made, its records stay."""


class SinkStats(Struct, frozen=True, kw_only=True):
    """
    The counts of one sink since the process started.
    """

    events_produced: int = 0
    """Records that this process emitted while the sink was there."""
    events_sent: int = 0
    """Records that the sink acknowledged."""
    events_dropped: dict[str, int] = {}
    """Records that were lost, by reason."""
    batches_sent: int = 0
    batches_in_flight: int = 0
    send_errors: int = 0
    """Sends that failed as a whole."""
    last_flush_epoch: int | None = None
    """Unix milliseconds of the last batch that arrived."""
    pending_events: int = 0
    async_workers: int = 1
    events_in_flight: int = 0
    filtered: int = 0
    """Records that the sink's `where` or `sample` left out."""
    dead: int = 0
    """Records that went to the dead letters."""
    retried: int = 0
    """Records that were sent once more, counted each time."""
    adopted: int = 0
    """Records that dead processes had left."""
    journal_bytes: int = 0
    oldest_pending_seconds: float = 0.0
    state: State = "idle"
    last_error: str | None = None

    @property
    def dropped(self) -> int:
        """All lost records together."""
        return sum(self.events_dropped.values())

    @property
    def unaccounted(self) -> int:
        """Records whose fate nobody knows: always 0."""
        settled = self.events_sent + self.filtered + self.dropped + self.dead
        return self.events_produced + self.adopted - settled - self.pending_events - self.events_in_flight


class Ledger:
    """
    The books of one sink; callers are any threads.
    """

    def __init__(self, async_workers: int) -> None:
        self._lock = native.new_lock()  # a finalizer that emits may interrupt its holder
        self.async_workers = async_workers
        self._rejected = 0
        self._adopted = 0
        self._sent = 0
        self._filtered = 0
        self._dead = 0
        self._retried = 0
        self._dropped: Counter[str] = Counter()
        self._in_flight = 0
        self._batches_in_flight = 0
        self._batches_sent = 0
        self._send_errors = 0
        self._last_flush: int | None = None
        self.state: State = "idle"
        self.last_error: str | None = None

    def adopt(self, count: int) -> None:
        with self._lock:
            self._adopted += count

    def filter(self, count: int = 1) -> None:
        with self._lock:
            self._filtered += count

    def drop(self, reason: str, count: int = 1) -> None:
        with self._lock:
            self._dropped[reason] += count

    def reject(self, reason: str) -> None:
        """
        Count a record that the journal did not take.
        """
        with self._lock:
            self._rejected += 1
            self._dropped[reason] += 1

    def bury(self, count: int = 1) -> None:
        """
        Count dead letters.
        """
        with self._lock:
            self._dead += count

    def depart(self, count: int) -> None:
        """
        Count a batch that goes on its way.
        """
        with self._lock:
            self._in_flight += count
            self._batches_in_flight += 1

    def arrive(self, count: int, *, sent: int, retried: int, failed: bool) -> None:
        """
        Count what became of a batch of `count` records.
        """
        with self._lock:
            self._in_flight -= count
            self._batches_in_flight -= 1
            self._sent += sent
            self._retried += retried
            self._send_errors += failed
            if sent:
                self._batches_sent += 1
                self._last_flush = time.time_ns() // 1_000_000

    def snapshot(
        self, appended: Callable[[], int], *, journal_bytes: int = 0, oldest_pending_seconds: float = 0.0
    ) -> SinkStats:
        """
        Give the counts as they are; `appended` tells how many records came into the journal for this sink.
        """
        with self._lock:
            produced = appended() + self._rejected
            settled = self._sent + self._filtered + self._dead + self._dropped.total()
            return SinkStats(
                events_produced=produced,
                events_sent=self._sent,
                events_dropped=dict(self._dropped),
                batches_sent=self._batches_sent,
                batches_in_flight=self._batches_in_flight,
                send_errors=self._send_errors,
                last_flush_epoch=self._last_flush,
                pending_events=produced + self._adopted - settled - self._in_flight,
                async_workers=self.async_workers,
                events_in_flight=self._in_flight,
                filtered=self._filtered,
                dead=self._dead,
                retried=self._retried,
                adopted=self._adopted,
                journal_bytes=journal_bytes,
                oldest_pending_seconds=oldest_pending_seconds,
                state=self.state,
                last_error=self.last_error,
            )
