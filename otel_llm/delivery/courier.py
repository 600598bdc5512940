"""
One sink's courier: reads the journals at its own cursor and brings the records to its sink.

The life of a batch: peek a frame ► decode ► route ► encode ► batch by count, bytes and age ► send ► receipt. What was
delivered or buried is settled and the cursor moves on; what is to be retried waits and goes again; a batch refused as a
whole is halved until the poison record is alone. Lives on the loop thread.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import msgspec

from otel_llm.delivery.breaker import Breaker
from otel_llm.delivery.dead_letters import DeadLetters
from otel_llm.delivery.frames import Frame
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.reader import Reader, Source, Span
from otel_llm.delivery.route import Rate, Route
from otel_llm.delivery.sink import Batch, BlockingSink, Delivered, Outcome, Record, Rejected, Retry, Sink
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.delivery.stats import Ledger
from otel_llm.delivery.threaded import ThreadedSink
from otel_llm.errors import JournalError, NotDelivered, OtelLLMError, Unauthorized
from otel_llm.telemetry.event import Event

logger = logging.getLogger(__name__)

Reprice = Callable[[Event], Event]

_UNKNOWN_REASON = "otel_llm.cost.unknown_reason"
_SCAN = 2000
"""Frames looked at before the loop gets its turn again."""
_ERROR_CHARACTERS = 300


class Parcel:
    """
    One record on its way.
    """

    __slots__ = ("attempts", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.attempts = 0


class Load(NamedTuple):
    """
    The parcels of one batch, and the part of a journal they came from.
    """

    reader: Reader
    span: Span
    parcels: list[Parcel]


class Courier:
    """
    Brings records to one sink until it is stopped.
    """

    def __init__(
        self, spec: SinkSpec, settings: DeliverySettings, dead_letters: DeadLetters, reprice: Reprice | None = None
    ) -> None:
        self.spec = spec
        self.batch_size = spec.batch_size or settings.batch_size
        self.workers = spec.async_workers or settings.async_workers
        self.ledger = Ledger(self.workers)
        self.breaker = Breaker()
        self.off = False
        self._interval = (spec.flush_interval_ms or settings.flush_interval_ms) / 1000
        self._dead_letters = dead_letters
        self._reprice = reprice
        self._route = Route(spec)
        self._rate = Rate(spec.max_rate) if spec.max_rate else None
        self._readers: deque[Reader] = deque()
        self._loads: list[Load] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sink: Sink | None = None
        self._open = False
        self._making = asyncio.Lock()
        self._collecting = asyncio.Lock()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._next_flush = 0.0
        self._hurried = 0

    def start(self) -> None:
        """
        Begin to work; called on the loop thread.
        """
        loop = asyncio.get_running_loop()
        self._next_flush = time.monotonic() + self._interval
        self._tasks = [loop.create_task(self._work()) for _ in range(self.workers)]

    def add(self, reader: Reader) -> None:
        """
        Serve one more journal.
        """
        self._readers.append(reader)
        self._wake.set()

    def reads(self, source: Source) -> bool:
        """
        Whether this courier serves a journal already.
        """
        return any(reader.source is source for reader in self._readers)

    def wake(self) -> None:
        """
        Look whether a batch is due.
        """
        self._wake.set()

    def skip_evicted(self) -> None:
        """
        Count what the journals had to give up.
        """
        for reader in self._readers:
            reader.skip_evicted()

    async def drain(self, *, source: Source | None = None) -> bool:
        """
        Send what one journal, or every one, holds now without waiting for full batches; False when the sink is off.
        """
        targets = {reader: reader.source.next for reader in self._readers if source in {None, reader.source}}
        self._hurried += 1
        self._wake.set()
        try:
            while any(reader.settled < end for reader, end in targets.items()):
                if self.off:
                    return False
                self._settled.clear()
                await self._settled.wait()
        finally:
            self._hurried -= 1
        return True

    async def stop(self, seconds: float) -> None:
        """
        Let everything fall that is not settled, it stays in the journals; closing the sink may take so long.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sink is not None:
            await self._close(self._sink, seconds)
        for reader in self._readers:
            reader.close()

    def oldest_pending_seconds(self) -> float:
        """
        Give the age of the oldest record that is not settled.
        """
        first = next((parcel.record.event for load in tuple(self._loads) for parcel in load.parcels), None)
        if first is None:
            return 0.0
        return max(0.0, time.time() - first.timestamp_ns / 1e9)

    async def _work(self) -> None:
        while not self.off:
            try:
                await self._bring(await self._next_load())
            except OtelLLMError as error:
                self._switch_off(error)
            except Exception:
                logger.exception("the courier of %s stumbled; what it carried stays in the journal", self.spec.name)
                await asyncio.sleep(self._interval)

    async def _bring(self, load: Load) -> None:
        self._loads.append(load)
        try:
            await self._deliver(load.parcels)
        finally:
            self._loads.remove(load)
        self._settle(load.reader, load.span)

    def _settle(self, reader: Reader, span: Span) -> None:
        reader.settle(span)
        if not isinstance(reader.source, Journal) and reader.settled >= reader.source.next:
            self._retire(reader)
        self._settled.set()

    def _retire(self, reader: Reader) -> None:
        """
        Leave a dead process's journal that has been read to its end.
        """
        reader.close()
        if reader in self._readers:
            self._readers.remove(reader)

    async def _next_load(self) -> Load:
        async with self._collecting:
            while True:
                load = self._load() if self._is_due() else None
                if load is not None:
                    return load
                await self._more()

    def _is_due(self) -> bool:
        waiting = sum(reader.remaining for reader in self._readers)
        if waiting >= self.batch_size:
            return True
        return waiting > 0 and (self._hurried > 0 or time.monotonic() >= self._next_flush)

    async def _more(self) -> None:
        if self._is_due():
            await asyncio.sleep(0)
            return
        now = time.monotonic()
        if now >= self._next_flush:
            self._next_flush = now + self._interval
        self._wake.clear()
        self._ask_to_be_woken()
        try:
            async with asyncio.timeout(self._next_flush - now):
                await self._wake.wait()
        except TimeoutError:
            return

    def _ask_to_be_woken(self) -> None:
        for reader in self._readers:
            if isinstance(reader.source, Journal):
                reader.source.want(reader.next + self.batch_size)

    def _load(self) -> Load | None:
        reader = self._next_reader()
        if reader is None:
            return None
        span = reader.begin()
        parcels = self._collect(reader, span)
        self._next_flush = time.monotonic() + self._interval
        if parcels:
            return Load(reader, span, parcels)
        self._settle(reader, span)
        return None

    def _next_reader(self) -> Reader | None:
        for _ in range(len(self._readers)):
            self._readers.rotate(-1)
            if self._readers[-1].remaining:
                return self._readers[-1]
        return None

    def _collect(self, reader: Reader, span: Span) -> list[Parcel]:
        parcels: list[Parcel] = []
        size = 0
        for _ in range(_SCAN):
            frame = reader.peek()
            if frame is None:
                break
            parcel = self._pack(frame)
            if parcel is not None:
                size += len(parcel.record.body)
                if parcels and size > self.spec.batch_bytes:
                    break
                parcels.append(parcel)
            reader.take(span)
            if len(parcels) >= self.batch_size:
                break
        return parcels

    def _pack(self, frame: Frame) -> Parcel | None:
        try:
            event = frame.event or Event.decode(frame.payload)
        except msgspec.DecodeError:
            self.ledger.drop("corrupt")
            return None
        copy = self._route.apply(self._priced(event))
        if copy is None:
            self.ledger.filter()
            return None
        if self._rate is not None and not self._rate.allows():
            self.ledger.drop("max_rate")
            return None
        return self._encode(copy)

    def _priced(self, event: Event) -> Event:
        if self._reprice is None or event.attributes.get(_UNKNOWN_REASON) != "book_loading":
            return event
        try:
            return self._reprice(event)
        except Exception:
            logger.exception("an event could not be priced afterwards, it goes without a cost")
            return event

    def _encode(self, copy: Event) -> Parcel | None:
        try:
            body = self.spec.encoder(copy)
        except Exception as error:  # noqa: BLE001 - one record that no format can take must not hold up the rest
            self._bury([(copy, f"cannot be encoded: {_words(error)}", 0)])
            return None
        return Parcel(Record(copy, body, self.spec.content_type))

    async def _deliver(self, parcels: list[Parcel]) -> None:
        todo = deque([parcels])
        while todo:
            group = todo.popleft()
            outcomes = await self._attempt(group)
            if isinstance(outcomes, Rejected) and len(group) > 1:
                middle = len(group) // 2
                todo.extendleft((group[middle:], group[:middle]))
                continue
            again = self._account(group, outcomes)
            if again:
                todo.appendleft(again)

    async def _attempt(self, group: list[Parcel]) -> Outcome | Sequence[Outcome]:
        """
        Send a group once; gives one outcome for each of its parcels, or one for them all.
        """
        async with self.breaker.permit():
            batch = Batch([parcel.record for parcel in group])
            self.ledger.depart(len(group))
            outcomes: Outcome | Sequence[Outcome] = Retry()
            error: Exception | None = None
            try:
                sink = await self._opened()
                receipt = await sink.send(batch)
                each = receipt.of(batch)
                outcomes = receipt.outcomes if isinstance(receipt.outcomes, Rejected) else each
            except NotDelivered as caught:
                error = caught
                self._open = False
            except OtelLLMError:
                raise
            except Exception as caught:  # noqa: BLE001 - whatever a sink raises means: retry all
                error = caught
                self._open = False
            finally:
                self._count(group, outcomes, failed=error is not None)
            self._judge(outcomes, error)
        for parcel in group:
            parcel.attempts += 1
        return outcomes

    def _count(self, group: list[Parcel], outcomes: Outcome | Sequence[Outcome], *, failed: bool) -> None:
        each = _each(outcomes, len(group))
        sent = sum(isinstance(outcome, Delivered) for outcome in each)
        retried = sum(parcel.attempts > 0 for parcel in group)
        self.ledger.arrive(len(group), sent=sent, retried=retried, failed=failed)

    def _judge(self, outcomes: Outcome | Sequence[Outcome], error: Exception | None) -> None:
        """
        Tell the breaker how it went; a sink that took anything is alive.
        """
        each = _each(outcomes, 1)
        waits = [outcome.after for outcome in each if isinstance(outcome, Retry)]
        after = max((wait for wait in waits if wait is not None), default=None)
        if len(waits) == len(each):
            self._failed(error, after)
            return
        if self.breaker.failures:
            logger.warning("%s takes records again", self.spec.name)
        self.breaker.succeeded()
        self.ledger.state = "open"
        if waits:
            self.breaker.delay(1, after)

    def _failed(self, error: Exception | None, after: float | None) -> None:
        self.breaker.failed(after, refused=isinstance(error, Unauthorized))
        self.ledger.state = "broken" if self.breaker.broken else "retrying"
        self.ledger.last_error = "the sink asked to retry" if error is None else _words(error)
        if self.breaker.failures == 1:
            logger.warning("%s did not take a batch, it is tried again: %s", self.spec.name, self.ledger.last_error)

    def _account(self, group: list[Parcel], outcomes: Outcome | Sequence[Outcome]) -> list[Parcel]:
        """
        Bury what is refused or too old; gives what is to be sent again.
        """
        again: list[Parcel] = []
        dead: list[tuple[Event, str, int]] = []
        for parcel, outcome in zip(group, _each(outcomes, len(group)), strict=True):
            reason = outcome.reason if isinstance(outcome, Rejected) else None
            if isinstance(outcome, Retry) and (reason := self._given_up(parcel)) is None:
                again.append(parcel)
            if reason is not None:
                dead.append((parcel.record.event, reason, parcel.attempts))
        self._bury(dead)
        return again

    def _given_up(self, parcel: Parcel) -> str | None:
        if self.spec.max_attempts is not None and parcel.attempts >= self.spec.max_attempts:
            return f"gave up after {parcel.attempts} attempts: {self.ledger.last_error}"
        age = time.time() - parcel.record.event.timestamp_ns / 1e9
        if self.spec.max_age is not None and age > self.spec.max_age:
            return f"not delivered within {self.spec.max_age:g} s: {self.ledger.last_error}"
        return None

    def _bury(self, dead: list[tuple[Event, str, int]]) -> None:
        if not dead:
            return
        try:
            self._dead_letters.keep([self._dead_letters.letter(*letter) for letter in dead])
        except (OSError, JournalError, msgspec.MsgspecError, TypeError, ValueError) as error:
            logger.error("%d dead letters of %s could not be kept: %s", len(dead), self.spec.name, _words(error))  # noqa: TRY400
            self.ledger.drop("dead_letter_lost", len(dead))
            return
        self.ledger.bury(len(dead))
        logger.warning(
            "%s refused %d records, see %s: %s", self.spec.name, len(dead), self._dead_letters.path, dead[0][1]
        )

    async def _opened(self) -> Sink:
        """
        Give the sink, made and open; one whose last send raised is opened again.
        """
        async with self._making:
            sink = self._sink
            if sink is None:
                made = await asyncio.get_running_loop().run_in_executor(None, self.spec.make)
                self._sink = sink = _asynchronous(made)
            if not self._open:
                await sink.open()
                self._open = True
            return sink

    async def _close(self, sink: Sink, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await sink.close()
        except Exception as error:  # noqa: BLE001 - a sink that cannot close must not keep the others from it
            logger.debug("%s did not close well: %s", self.spec.name, _words(error))

    def _switch_off(self, error: OtelLLMError) -> None:
        if not self.off:
            logger.error("the sink %s is off, its records stay in the journal: %s", self.spec.name, error)
        self.off = True
        self.ledger.state = "off"
        self.ledger.last_error = _words(error)
        self._settled.set()


def _asynchronous(sink: Sink | BlockingSink) -> Sink:
    blocks = BlockingSink in type(sink).__mro__
    return ThreadedSink(cast("BlockingSink", sink)) if blocks else cast("Sink", sink)


def _each(outcomes: Outcome | Sequence[Outcome], count: int) -> Sequence[Outcome]:
    return (outcomes,) * count if isinstance(outcomes, Delivered | Retry | Rejected) else outcomes


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
