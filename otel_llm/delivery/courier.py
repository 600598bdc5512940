"""
One sink's courier: reads the journals at its own cursor and brings the records to its sink.

The life of a batch: peek a frame ► decode ► route ► encode ► batch by count, bytes and age ► send ► receipt. What was
delivered or buried is settled and the cursor moves on; what is to be retried waits and goes again; a batch refused as a
whole is halved until the poison record is alone; after an outage it travels in portions. Lives on the loop thread.
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from otel_llm.delivery.breaker import Breaker
from otel_llm.delivery.connection import Connection
from otel_llm.delivery.dead_letters import DeadLetters
from otel_llm.delivery.diagnosis import Diagnosis, facts, place
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.made import made_ns
from otel_llm.delivery.packer import Packer, Parcel, Reprice
from otel_llm.delivery.reader import Reader, Source, Span
from otel_llm.delivery.sink import Batch, BlockingSink, Delivered, Outcome, Rejected, Retry, Sink
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.delivery.stats import Ledger
from otel_llm.errors import JournalError, NotDelivered, OtelLLMError, Unauthorized
from otel_llm.telemetry.event import Event

logger = logging.getLogger(__name__)

_SCAN = 2000
"""Frames looked at before the loop gets its turn again."""


class Load(NamedTuple):
    """
    The parcels of one batch, in the groups they are to travel in, and the part of a journal they came from.
    """

    reader: Reader
    span: Span
    groups: deque[list[Parcel]]


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
        self.breaker = Breaker(self.workers, settings.clock)
        self.off = False
        self._interval = (spec.flush_interval_ms or settings.flush_interval_ms) / 1000
        self._clock = settings.clock
        self._diagnosis = Diagnosis()
        self._dead_letters = dead_letters
        self._packer = Packer(spec, self.ledger, reprice, lambda event, reason: self._bury([(event, reason, 0)]))
        self._connection = Connection(spec, settings.clock.real(spec.send_timeout_ms / 1000), self._meet)
        self._readers: deque[Reader] = deque()
        self._loads: list[Load] = []
        self._tasks: list[asyncio.Task[None]] = []
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
        await self._connection.close(seconds)
        for reader in self._readers:
            reader.close()

    def oldest_pending_seconds(self) -> float:
        """
        Give the age of the oldest record that is not settled.
        """
        under_way = itertools.chain.from_iterable(tuple(load.groups) for load in tuple(self._loads))
        waiting = [parcel.record.event.timestamp_ns for group in under_way for parcel in group[:1]]
        waiting += filter(None, map(self._left_since, tuple(self._readers)))
        return max(0.0, self._clock.time() - min(waiting) / 1e9) if waiting else 0.0

    def _left_since(self, reader: Reader) -> int | None:
        """
        Tell when the first unsettled record of a journal was made, unless it is in our hands soon.
        """
        soon = isinstance(reader.source, Journal) and not self.off
        return None if soon or reader.settled >= reader.source.next else made_ns(reader.source, reader.settled)

    async def _work(self) -> None:
        load: Load | None = None
        while not self.off:
            try:
                load = load or await self._next_load()
                await self._bring(load)
                load = None
            except OtelLLMError as error:
                self._switch_off(error)
            except Exception as error:  # noqa: BLE001 - the worker must live; what it carries is tried again
                logger.error("the courier of %s stumbled and goes on: %s", self.spec.name, place(error))  # noqa: TRY400
                await asyncio.sleep(self._interval)

    async def _bring(self, load: Load) -> None:
        self._loads.append(load)
        try:
            await self._deliver(load.groups)
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
        parcels: list[Parcel] = []
        try:
            self._collect(reader, span, parcels)
        except OSError:
            if not parcels:
                self._settle(reader, span)
                raise
        self._next_flush = time.monotonic() + self._interval
        if parcels:
            return Load(reader, span, deque([parcels]))
        self._settle(reader, span)
        return None

    def _next_reader(self) -> Reader | None:
        for _ in range(len(self._readers)):
            self._readers.rotate(-1)
            if self._readers[-1].remaining:
                return self._readers[-1]
        return None

    def _collect(self, reader: Reader, span: Span, parcels: list[Parcel]) -> None:
        size = 0
        for _ in range(_SCAN):
            frame = reader.peek()
            if frame is None:
                break
            parcel = self._packer.pack(frame)
            if parcel is not None:
                size += len(parcel.record.body)
                if parcels and size > self.spec.batch_bytes:
                    break
                parcels.append(parcel)
            reader.take(span)
            if len(parcels) >= self.batch_size:
                break

    async def _deliver(self, groups: deque[list[Parcel]]) -> None:
        while groups:
            await asyncio.sleep(0)  # a sink that never waits must not keep the loop from the others
            self._bury_old(groups)
            if not groups:
                return
            async with self.breaker.permit():
                group = self._portion(groups)
                outcomes = await self._attempt(group)
            groups.popleft()
            if isinstance(outcomes, Rejected) and len(group) > 1:
                middle = len(group) // 2
                groups.extendleft((group[middle:], group[:middle]))
            elif again := self._account(group, outcomes):
                groups.appendleft(again)

    def _portion(self, groups: deque[list[Parcel]]) -> list[Parcel]:
        """
        Give the first group, after leaving to the next one what is too much for now.
        """
        most = self.breaker.portion(self.batch_size)
        if len(groups[0]) > most:
            group = groups.popleft()
            groups.extendleft((group[most:], group[:most]))
        return groups[0]

    async def _attempt(self, group: list[Parcel]) -> Outcome | Sequence[Outcome]:
        """
        Send a group once; gives one outcome for each of its parcels, or one for them all.
        """
        batch = Batch([parcel.record for parcel in group], self.spec.join)
        outcomes: Outcome | Sequence[Outcome] = Retry()
        error: BaseException | None = None
        self.ledger.depart(len(group))
        try:
            receipt = await self._connection.send(batch)
            each = receipt.of(batch)
            outcomes = receipt.outcomes if isinstance(receipt.outcomes, Rejected) else each
        except BaseException as caught:
            if not _means_retry(caught):
                raise
            error = caught
            self._connection.broken()
        finally:
            self._count(group, outcomes, failed=error is not None)
        self._judge(batch, outcomes, error)
        for parcel in group:
            parcel.attempts += 1
        return outcomes

    def _count(self, group: list[Parcel], outcomes: Outcome | Sequence[Outcome], *, failed: bool) -> None:
        each = _each(outcomes, len(group))
        sent = sum(isinstance(outcome, Delivered) for outcome in each)
        retried = sum(parcel.attempts > 0 for parcel in group)
        self.ledger.arrive(len(group), sent=sent, retried=retried, failed=failed)

    def _judge(self, batch: Batch, outcomes: Outcome | Sequence[Outcome], error: BaseException | None) -> None:
        """
        Tell the breaker how it went; a sink that took anything is alive.
        """
        each = _each(outcomes, 1)
        retries = [outcome for outcome in each if isinstance(outcome, Retry)]
        after = max((retry.after for retry in retries if retry.after is not None), default=None)
        if len(retries) == len(each):
            self.ledger.last_error = self._why(batch, retries, error)
            self._failed(after, refused=isinstance(error, Unauthorized))
            return
        if self.breaker.failures:
            logger.warning("%s takes records again", self.spec.name)
        self.breaker.succeeded()
        self.ledger.state = "open"
        if retries:
            self.breaker.delay(1, after)

    def _why(self, batch: Batch, retries: Sequence[Retry], error: BaseException | None) -> str:
        reason = next((retry.reason for retry in retries if retry.reason), "the sink asked to retry")
        return self._diagnosis.of(error or NotDelivered(reason), batch.records)

    def _failed(self, after: float | None, *, refused: bool) -> None:
        first = self.breaker.failures == 0 or (refused and not self.breaker.broken)
        self.breaker.failed(after, refused=refused)
        self.ledger.state = "broken" if self.breaker.broken else "retrying"
        if first and refused:
            words = "%s does not accept our credentials, its records wait in the journal until it does: %s"
            logger.error(words, self.spec.name, self.ledger.last_error)
        elif first:
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
        if self.spec.max_attempts is None or parcel.attempts < self.spec.max_attempts:
            return None
        return f"gave up after {parcel.attempts} attempts: {self.ledger.last_error}"

    def _bury_old(self, groups: deque[list[Parcel]]) -> None:
        """
        Take what is older than `max_age` out of the first group, and the group itself when nothing else is in it.
        """
        limit = self.spec.max_age
        if limit is None:
            return
        group, oldest = groups.popleft(), (self._clock.time() - limit) * 1e9
        old = [parcel for parcel in group if parcel.record.event.timestamp_ns < oldest]
        if fresh := [parcel for parcel in group if parcel.record.event.timestamp_ns >= oldest]:
            groups.appendleft(fresh)
        reason = f"not delivered within {limit:g} s" + (f": {self.ledger.last_error}" if self.ledger.last_error else "")
        self._bury([(parcel.record.event, reason, parcel.attempts) for parcel in old])

    def _bury(self, dead: list[tuple[Event, str, int]]) -> None:
        if not dead:
            return
        try:
            self._dead_letters.keep(
                [
                    self._dead_letters.letter(event, self._diagnosis.clean(reason), attempts)
                    for event, reason, attempts in dead
                ]
            )
        except (OSError, JournalError, msgspec.MsgspecError, TypeError, ValueError) as error:
            logger.error("%d dead letters of %s could not be kept: %s", len(dead), self.spec.name, facts(error))  # noqa: TRY400
            self.ledger.drop("dead_letter_lost", len(dead))
            return
        self.ledger.bury(len(dead))
        # The reason may quote a record: it stands beside it, not here.
        logger.warning("%s: %d more in the dead letters, %s", self.spec.name, len(dead), self._dead_letters.path)

    def _meet(self, sink: Sink | BlockingSink) -> None:
        self._diagnosis.learn_secrets(sink)
        self._widen(getattr(sink, "batches_in_flight", 1))

    def _widen(self, batches: int) -> None:
        """
        Have more batches on their way at once, where the sink asks for more than the settings do.
        """
        added = max(0, batches - self.workers)
        self.workers = self.breaker.workers = self.ledger.async_workers = self.workers + added
        self._tasks += [asyncio.get_running_loop().create_task(self._work()) for _ in range(added)]

    def _switch_off(self, error: OtelLLMError) -> None:
        if not self.off:
            logger.error(
                "the sink %s is off, its records stay in the journal: %s", self.spec.name, self._diagnosis.of(error)
            )
        self.off = True
        self.ledger.state = "off"
        self.ledger.last_error = self._diagnosis.of(error)
        self._settled.set()


def _each(outcomes: Outcome | Sequence[Outcome], count: int) -> Sequence[Outcome]:
    return (outcomes,) * count if isinstance(outcomes, Outcome) else outcomes


def _means_retry(error: BaseException) -> bool:
    """
    Whether a sink raised it, other than one of our errors that switch it off.
    """
    if isinstance(error, asyncio.CancelledError):
        # A client library's own cancelled task must not end the courier; only who stops the courier may.
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(error, NotDelivered) or not isinstance(error, OtelLLMError | GeneratorExit)
