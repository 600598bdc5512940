"""A sink that may not take as long as it likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from otel_llm.delivery.sink import Batch, Receipt, Sink
from otel_llm.errors import NotDelivered


class TimedSink:
    """
    A `Sink` whose `open` and `send` are given up after so many seconds.
    """

    Options: ClassVar[type[Any]] = object

    def __init__(self, sink: Sink, seconds: float) -> None:
        self._sink = sink
        self._seconds = seconds

    async def open(self) -> None:
        async with no_longer_than(self._seconds):
            await self._sink.open()

    async def send(self, batch: Batch) -> Receipt:
        async with no_longer_than(self._seconds):
            return await self._sink.send(batch)

    async def close(self) -> None:
        await self._sink.close()


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
        raise NotDelivered("the sink did not answer in time") from error
