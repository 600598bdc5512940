"""A sink that may not take as long as it likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, ClassVar, TypeVar

from otel_llm.delivery.sink import Batch, Receipt, Sink
from otel_llm.errors import NotDelivered

T = TypeVar("T")

GRACE = 0.5
"""Seconds for a call that was cancelled to end."""


class TimedSink:
    """
    A `Sink` whose calls are given up after so many seconds; one that does not even obey then keeps it `busy`.
    """

    Options: ClassVar[type[Any]] = object

    def __init__(self, sink: Sink, seconds: float) -> None:
        self._sink = sink
        self._seconds = seconds
        self._stubborn: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether an earlier call still goes on."""
        return bool(self._stubborn)

    async def open(self) -> None:
        await self._within(self._sink.open())

    async def send(self, batch: Batch) -> Receipt:
        return await self._within(self._sink.send(batch))

    async def close(self) -> None:
        await self._sink.close()

    def abandon(self) -> None:
        """
        Leave it alone: what is busy in it ends by itself, or not at all.
        """

    async def _within(self, call: Coroutine[Any, Any, T]) -> T:
        if self.busy:
            call.close()
            raise NotDelivered(STILL_HANGS)
        task = asyncio.create_task(_harmless(call))
        try:
            await asyncio.wait({task}, timeout=self._seconds)
            if task.done():
                return task.result()
        finally:
            await self._end(task)
        raise NotDelivered(TOO_LATE)

    async def _end(self, task: asyncio.Task[Any]) -> None:
        if task.done():
            return
        task.cancel()
        task.add_done_callback(_forget)
        await asyncio.wait({task}, timeout=GRACE)
        if not task.done():
            self._stubborn.add(task)
            task.add_done_callback(self._stubborn.discard)


TOO_LATE = "the sink did not answer in time"
STILL_HANGS = "the sink still hangs in an earlier call"


@contextlib.asynccontextmanager
async def no_longer_than(seconds: float) -> AsyncIterator[None]:
    """
    Cancel what takes longer, and raise `NotDelivered` instead.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise NotDelivered(TOO_LATE) from error


async def _harmless(call: Coroutine[Any, Any, T]) -> T:
    """
    Let no sink end the event loop, which is what these do when a task raises them.
    """
    try:
        return await call
    except (SystemExit, KeyboardInterrupt) as error:
        raise NotDelivered(f"the sink raised {type(error).__name__}") from error


def _forget(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()
