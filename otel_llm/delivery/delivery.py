"""
The whole of delivery in one object: one journal, one courier per sink, and their life in this process.

Nothing happens before the first event or `start()`: no thread, no folder. A forked child begins anew with a journal of
its own and never touches its parent's.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from otel_llm.delivery import adoption, native, process
from otel_llm.delivery.adoption import Inheritance
from otel_llm.delivery.courier import Courier
from otel_llm.delivery.dead_letters import DeadLetters
from otel_llm.delivery.group import group_folder, label
from otel_llm.delivery.journal import Journal
from otel_llm.delivery.loop import LoopThread, background
from otel_llm.delivery.packer import Reprice
from otel_llm.delivery.reader import Reader, Source
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.delivery.stats import SinkStats
from otel_llm.errors import JournalError
from otel_llm.telemetry.event import Event
from otel_llm.telemetry.safe_values import safe_event

logger = logging.getLogger(__name__)

ADOPT_SECONDS = 10.0
_TEND_SECONDS = 1.0
_SYNC_SECONDS = 0.5
_CLOSE_SECONDS = 0.1
"""What sinks get to close themselves when the deadline is over."""
_SPARED_SECONDS = 60.0
"""For so long calls do not wait for a sink that kept one waiting."""


class Delivery:
    """
    Keeps events safe and brings each to every sink; raises `SettingsError` when a sink's `where` cannot be understood.

    `reprice` is given the events that were emitted before the price book had been loaded; `last_words` is called at the
    end of the process, before the last records are sent.
    """

    _lock: "threading.RLock"
    _journal: Journal | None
    _thread: LoopThread | None
    _tending: asyncio.Task[None] | None
    _couriers: dict[str, Courier]
    _closed: bool
    _exit_hooked: bool

    def __init__(
        self,
        *,
        sinks: Sequence[SinkSpec],
        settings: DeliverySettings,
        reprice: Reprice | None = None,
        last_words: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._reprice = reprice
        self._last_words = last_words
        self._first_sinks = tuple(sinks)
        self._group = group_folder(settings, sinks)
        self._left_behind: list[object] = []
        self._exit_seconds = settings.exit_timeout_ms / 1000
        self._specs = list(sinks)
        self._begin()
        process.on_fork(self._after_fork)

    def start(self) -> None:
        """
        Start the couriers and adopt what dead processes left; safe to call again.
        """
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is not None or self._closed or not self._couriers:
                return
            try:
                thread = background()
            except RuntimeError:
                logger.warning("no thread can be started any more, records stay in the journal")
                return
            self._thread = thread
            thread.post(self._launch)
        if not self._exit_hooked:
            process.on_exit(self._flush_first, self._finish)
            self._exit_hooked = True

    def append(self, event: Event) -> bool:
        """
        Keep an event for every sink; what this returned True for is safe.
        """
        if not self._couriers:
            return False
        try:
            event, payload = _encoded(event)
        except _UNENCODABLE as error:
            logger.warning("an event cannot be encoded and is lost: %s", type(error).__name__)
            self._reject("unencodable")
            return False
        journal = self._journal or self._open_journal()
        kept = journal.append(payload, event)
        if self._closed:
            journal.recover()
        elif self._settings.freezes:
            self._run(self._deliver_now(journal), self._settings.exit_timeout_ms / 1000 + _CLOSE_SECONDS)
        return kept

    def add_sink(self, spec: SinkSpec) -> None:
        """
        Let one more sink receive what is emitted from now on; a sink of a known name is that sink.
        """
        with self._lock:
            if spec.name in self._couriers:
                return
            courier = self._courier(spec)
            self._specs.append(spec)
            self._couriers = {**self._couriers, spec.name: courier}
            if self._journal is not None:
                self._starts[spec.name] = self._journal.register(spec.key)
            if self._thread is None:
                self._regroup(spec)
                return
            self._thread.post(self._launch_courier, courier)

    def flush(self, timeout: float) -> bool:
        """
        Wait until every sink has what this process emitted so far; False when that took too long or a sink is off.
        """
        if self._journal is None or self._thread is None:
            return self._journal is None
        return not self._closed and self._run(self._drain(self._journal), timeout)

    def flush_at_exit(self) -> bool:
        """
        Flush, as long as there is time: all waiting of this kind together takes no longer than one exit may.

        Who presses Ctrl-C meanwhile does not want to wait; the records stay in the journal.
        """
        begun = time.monotonic()
        for courier in self._couriers.values():
            courier.breaker.hurry()
        try:
            delivered = self.flush(self._exit_seconds)
        except KeyboardInterrupt:
            self._exit_seconds = 0.0
            return False
        self._exit_seconds = max(0.0, self._exit_seconds - (time.monotonic() - begun))
        return delivered

    def shutdown(self, timeout: float) -> bool:
        """
        Deliver what can be delivered within one deadline for all sinks, and stop; the rest stays in the journal.
        """
        with self._lock:
            if self._closed:
                return True
            self._closed = True
        try:
            return self._thread is None or self._run(self._wind_up(timeout), timeout + 3 * _CLOSE_SECONDS)
        finally:
            self._leave_journals()

    def stats(self) -> dict[str, SinkStats]:
        """
        Give the counts of every sink.
        """
        size = sum(inheritance.size for inheritance in tuple(self._inherited))
        size += self._journal.size if self._journal else 0
        return {
            name: courier.ledger.snapshot(
                partial(self._appended, name),
                journal_bytes=size,
                oldest_pending_seconds=courier.oldest_pending_seconds(),
            )
            for name, courier in self._couriers.items()
        }

    def _leave_journals(self) -> None:
        if self._journal is not None:
            self._journal.harden()
            self._journal.close()
        for inheritance in self._inherited:
            inheritance.release()

    def _begin(self) -> None:
        self._lock = native.new_lock()
        self._journal = None
        self._thread = None
        self._tending = None
        self._inherited: list[Inheritance] = []
        self._starts: dict[str, int] = {}
        self._spared_until: dict[str, float] = {}
        self._closed = False
        self._exit_hooked = False
        self._couriers = {spec.name: self._courier(spec) for spec in self._specs}

    def _after_fork(self) -> None:
        """
        Let the parent's journal, sinks and sockets lie: closing them here could end them there.
        """
        self._left_behind += [self._journal, self._couriers, self._inherited]
        if self._journal is not None:
            self._journal.abandon()
        for inheritance in self._inherited:
            inheritance.release()
        closed, hooked = self._closed, self._exit_hooked
        self._begin()
        self._closed, self._exit_hooked = closed, hooked

    def _courier(self, spec: SinkSpec) -> Courier:
        return Courier(spec, self._settings, DeadLetters(self._group, spec.key), self._reprice)

    def _regroup(self, spec: SinkSpec) -> None:
        """
        As long as nothing was written, a late sink belongs to the first ones.
        """
        self._first_sinks = (*self._first_sinks, spec)
        self._group = group_folder(self._settings, self._first_sinks)
        self._couriers = {each.name: self._courier(each) for each in self._specs}

    def _open_journal(self) -> Journal:
        self.start()
        with self._lock:
            if self._journal is not None:
                return self._journal
            if self._settings.durability != "memory":
                self._label()
            keys = [courier.spec.key for courier in self._couriers.values()]
            journal = Journal(self._group, self._settings, keys, rejected=self._reject, wake=self._wake)
            journal.give_up_older = self._give_up_older
            self._starts = dict.fromkeys(self._couriers, 0)
            self._journal = journal
            if self._thread is not None:
                self._thread.post(self._read, journal)
            return journal

    def _label(self) -> None:
        with contextlib.suppress(OSError, JournalError):  # the journal itself reports what is wrong with the folder
            label(self._group, self._settings, self._first_sinks)

    def _reject(self, reason: str) -> None:
        for courier in self._couriers.values():
            courier.ledger.reject(reason)

    def _appended(self, name: str) -> int:
        return 0 if self._journal is None else self._journal.next - self._starts[name]

    def _wake(self) -> None:
        if self._thread is not None:
            self._thread.post(self._wake_couriers)

    def _wake_couriers(self) -> None:
        for courier in self._couriers.values():
            courier.wake()

    def _run(self, work: Coroutine[Any, Any, bool], timeout: float) -> bool:
        if self._thread is None:
            return False
        try:
            return self._thread.run(work, timeout)
        except TimeoutError:
            return False

    def _launch(self) -> None:
        for courier in self._couriers.values():
            courier.start()
        self._tending = asyncio.get_running_loop().create_task(self._tend())

    def _launch_courier(self, courier: Courier) -> None:
        courier.start()
        if self._journal is not None:
            self._serve(courier, self._journal, self._starts[courier.spec.name])
        for inheritance in tuple(self._inherited):
            self._hand_over(inheritance, courier)

    def _read(self, journal: Journal) -> None:
        for name, courier in self._couriers.items():
            self._serve(courier, journal, self._starts[name])

    def _serve(self, courier: Courier, source: Source, start: int) -> None:
        if not courier.reads(source):
            courier.add(Reader(source, courier.spec.key, start, courier.ledger.drop))

    async def _tend(self) -> None:
        """
        Do what has to be done from time to time.
        """
        pause = _SYNC_SECONDS if self._settings.durability == "power" else _TEND_SECONDS
        next_adoption = 0.0
        while True:
            try:
                if time.monotonic() >= next_adoption:
                    await self._adopt()
                    next_adoption = time.monotonic() + ADOPT_SECONDS
                await asyncio.sleep(pause)
                await self._keep_house()
            except OSError as error:
                logger.warning("the journals could not be looked after, it is tried again: %s", error)
                await asyncio.sleep(pause)

    async def _keep_house(self) -> None:
        journal = self._journal
        if journal is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._keep_journal, journal)
        for courier in self._couriers.values():
            courier.skip_evicted()

    def _keep_journal(self, journal: Journal) -> None:
        if self._settings.durability == "memory":
            return
        if not journal.on_disk:
            journal.recover()
        if self._settings.durability == "power":
            journal.sync()
        journal.keep_within_limits(time.time())

    async def _adopt(self) -> None:
        if self._settings.durability == "memory" and not self._group.exists():
            return
        for inheritance in await asyncio.get_running_loop().run_in_executor(None, self._look_for_dead):
            self._share_out(inheritance)

    def _look_for_dead(self) -> list[Inheritance]:
        found = self._take_over(adoption.adopt(self._group, [spec.key for spec in self._first_sinks]))
        try:
            self._tidy(time.time() - self._settings.journal_max_age)
        except OSError as error:
            logger.warning("the journals of dead processes could not be tidied: %s", error)
        return found

    def _take_over(self, found: list[Inheritance]) -> list[Inheritance]:
        """
        Note what we hold, for the shutdown to let go of; when that has begun meanwhile, the next one shall have it.
        """
        with self._lock:
            if not self._closed:
                self._inherited = [*self._inherited, *found]
                return found
        for inheritance in found:
            inheritance.release()
        return []

    def _tidy(self, oldest: float) -> None:
        adoption.purge(self._settings.journal_dir, oldest)
        for inheritance in self._inherited:
            inheritance.keep_within_limits(oldest)
        with self._lock:
            self._inherited = [inheritance for inheritance in self._inherited if not inheritance.released]
        if self._journal is not None:
            self._journal.other_bytes = adoption.bytes_of(self._group, besides=self._journal.folder)

    def _share_out(self, inheritance: Inheritance) -> None:
        for courier in self._couriers.values():
            self._hand_over(inheritance, courier)
        inheritance.close_if_delivered()

    def _hand_over(self, inheritance: Inheritance, courier: Courier) -> None:
        """
        Let a courier bring what its sink is owed of a dead process's records, once.
        """
        start = None if inheritance.released else inheritance.cursors.pop(courier.spec.key, None)
        if start is None:
            return
        courier.ledger.adopt(max(0, inheritance.next - start) + inheritance.torn)
        if inheritance.torn:
            courier.ledger.drop("torn", inheritance.torn)
        if start < inheritance.next:
            self._serve(courier, inheritance, start)

    def _give_up_older(self) -> int:
        return next((freed for inheritance in self._inherited if (freed := inheritance.make_room())), 0)

    async def _drain(self, source: Source | None) -> bool:
        drained = await asyncio.gather(*(courier.drain(source=source) for courier in self._couriers.values()))
        return all(drained)

    async def _deliver_now(self, journal: Journal) -> bool:
        """
        Send what waits before the process can be frozen.
        """
        now = time.monotonic()
        prompt = [name for name in self._couriers if self._spared_until.get(name, now) <= now]
        drains = {asyncio.ensure_future(self._couriers[name].drain(source=journal)): name for name in prompt}
        _, late = await asyncio.wait(drains, timeout=self._settings.exit_timeout_ms / 1000) if drains else ((), ())
        for drain in late:
            drain.cancel()
            self._spared_until[drains[drain]] = time.monotonic() + _SPARED_SECONDS
        return not late

    async def _wind_up(self, seconds: float) -> bool:
        for courier in self._couriers.values():
            courier.breaker.hurry()
        deadline = time.monotonic() + seconds
        delivered = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                delivered = await self._drain(None)
        if self._tending is not None:
            self._tending.cancel()
        left = max(_CLOSE_SECONDS, deadline - time.monotonic())
        stops = [asyncio.ensure_future(courier.stop(left)) for courier in self._couriers.values()]
        # Not `gather`: a sink that does not let itself be cancelled would be waited for.
        await asyncio.wait(stops, timeout=left + _CLOSE_SECONDS)
        return delivered

    def _flush_first(self) -> None:
        if self._last_words is not None and process.nothing_follows():
            self._last_words()
        self.flush_at_exit()
        if self._journal is not None:
            self._journal.harden()

    def _finish(self) -> None:
        if self._last_words is not None:
            self._last_words()
        with contextlib.suppress(KeyboardInterrupt):
            self.shutdown(self._exit_seconds)


def _encoded(event: Event) -> tuple[Event, bytes]:
    """
    Give the event as the journal keeps it, without what a log processor of somebody's put on it that cannot be written.
    """
    try:
        return event, event.encode()
    except _UNENCODABLE:
        event = safe_event(event)
        return event, event.encode()


_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)
