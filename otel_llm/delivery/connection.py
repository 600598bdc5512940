"""
A sink, made and opened when it is first needed, opened again after a failure, and replaced when it hangs.

Nothing it does may take longer than `seconds`. A thread that hangs cannot be ended, nor a task that ignores being
cancelled: the sink in it is left alone, and another one of the same kind takes over, three times at most; then all wait
until one of them comes back.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from otel_llm.delivery import process
from otel_llm.delivery.diagnosis import facts
from otel_llm.delivery.sink import Batch, BlockingSink, Receipt, Sink
from otel_llm.delivery.spec import SinkSpec
from otel_llm.delivery.threaded import ThreadedSink
from otel_llm.delivery.timed import TimedSink

logger = logging.getLogger(__name__)

MOST_HANGING = 3

_importing = process.Undivided(seconds=10.0)


class Connection:
    """
    The life of one courier's sink; `made` is told of each one that is made.
    """

    def __init__(self, spec: SinkSpec, seconds: float, made: Callable[[Sink | BlockingSink], None]) -> None:
        self._spec = spec
        self._seconds = seconds
        self._made = made
        self._sink: TimedSink | ThreadedSink | None = None
        self._hanging: list[TimedSink | ThreadedSink] = []
        self._open = False
        self._opening = asyncio.Lock()

    async def send(self, batch: Batch) -> Receipt:
        """
        Send a batch; raises whatever the sink raises, or `NotDelivered` when it takes too long.
        """
        sink = await self._opened()
        return await sink.send(batch)

    def broken(self) -> None:
        """
        Open the sink again before the next batch.
        """
        self._open = False

    async def close(self, seconds: float) -> None:
        """
        Close the sink, if there is one, and wait so long for it.
        """
        if self._sink is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._sink.close()
        except Exception as error:  # noqa: BLE001 - a sink that cannot close must not keep the others from it
            logger.debug("%s did not close well: %s", self._spec.name, facts(error))

    async def _opened(self) -> TimedSink | ThreadedSink:
        async with self._opening:
            self._replace_hanging()
            if self._sink is None:
                self._sink = await self._make()
            if not self._open:
                await self._sink.open()
                self._open = True
            return self._sink

    async def _make(self) -> TimedSink | ThreadedSink:
        made = await asyncio.get_running_loop().run_in_executor(None, self._import_and_make)
        self._made(made)
        if BlockingSink in type(made).__mro__:
            return ThreadedSink(cast("BlockingSink", made), self._seconds)
        return TimedSink(cast("Sink", made), self._seconds)

    def _import_and_make(self) -> Sink | BlockingSink:
        with _importing:
            return self._spec.make()

    def _replace_hanging(self) -> None:
        self._hanging = [sink for sink in self._hanging if sink.busy]
        sink = self._sink
        if self._open or sink is None or not sink.busy or len(self._hanging) >= MOST_HANGING:
            return
        sink.abandon()
        self._hanging.append(sink)
        self._sink = None
