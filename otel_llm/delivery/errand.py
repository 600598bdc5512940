"""
Couriers that bring what is there, and then stop: how leftovers are drained and dead letters replayed.

An errand ends when all is settled, when its sink is off, or when for a while no sink took anything any more; what was
not settled stays where it was.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from otel_llm.delivery.backlog import Group
from otel_llm.delivery.courier import Courier
from otel_llm.delivery.dead_letters import DeadLetters
from otel_llm.delivery.loop import LoopThread, background
from otel_llm.delivery.packer import Reprice
from otel_llm.delivery.reader import Reader, Source
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.delivery.stats import SinkStats

_TICK_SECONDS = 0.1
_START_SECONDS = 30.0
_STOP_SECONDS = 2.0


class Errand:
    """
    One sink with the sources that its courier empties, each from a sequence number on.
    """

    def __init__(
        self,
        spec: SinkSpec,
        settings: DeliverySettings,
        group: Group,
        sources: Iterable[tuple[Source, int]],
        *,
        torn: int = 0,
        reprice: Reprice | None = None,
    ) -> None:
        self.sink = spec.name
        self.service = group.service
        self._key = spec.key
        self._sources = [(source, start) for source, start in sources if start < source.next]
        self.total = sum(source.next - start for source, start in self._sources) + torn
        self._torn = torn
        self._courier = Courier(spec, settings, DeadLetters(group.folder, spec.key), reprice)
        self._done: asyncio.Task[bool] | None = None

    @property
    def stats(self) -> SinkStats:
        """What became of the records so far."""
        return self._courier.ledger.snapshot(lambda: 0)

    @property
    def settled(self) -> int:
        """Records whose fate is known."""
        stats = self.stats
        return stats.adopted - stats.pending_events - stats.events_in_flight

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do, or nobody to do it for."""
        return self._done is not None and self._done.done()

    async def begin(self) -> None:
        """
        Set out; called on the loop thread.
        """
        ledger = self._courier.ledger
        for source, start in self._sources:
            self._courier.add(Reader(source, self._key, start, ledger.drop))
        ledger.adopt(self.total)
        if self._torn:
            ledger.drop("torn", self._torn)
        self._courier.start()
        self._done = asyncio.get_running_loop().create_task(self._courier.drain())

    async def end(self) -> None:
        """
        Let everything fall that is not settled.
        """
        if self._done is not None:
            self._done.cancel()
        await self._courier.stop(_STOP_SECONDS)


def run(errands: Sequence[Errand], *, patience: float, tick: Callable[[], None]) -> None:
    """
    Do all errands at the same time, until all are over or for so many seconds no record was settled.
    """
    thread = background()
    thread.run(_all(errand.begin() for errand in errands), _START_SECONDS)
    try:
        _wait(errands, patience, tick)
    finally:
        _end(thread, errands)
        tick()


def _wait(errands: Sequence[Errand], patience: float, tick: Callable[[], None]) -> None:
    settled, moved = -1, time.monotonic()
    while not all(errand.is_over for errand in errands):
        now = sum(errand.settled for errand in errands)
        if now != settled:
            settled, moved = now, time.monotonic()
        elif time.monotonic() - moved > patience:
            return
        tick()
        time.sleep(_TICK_SECONDS)


def _end(thread: LoopThread, errands: Sequence[Errand]) -> None:
    with contextlib.suppress(TimeoutError):  # a sink that does not let itself be stopped ends with the process
        thread.run(_all(errand.end() for errand in errands), 2 * _STOP_SECONDS)


async def _all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*coroutines)
