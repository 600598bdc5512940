"""
When to try again.

Full jitter: after the n-th failure in a row the wait is anything between 0 and 2^(n-1) seconds, 60 at most, unless the
server said how long. After five failures, or one refused authentication, the breaker is broken: one batch at a time
goes through as a probe, and its success mends it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

BASE = 1.0
CAP = 60.0
THRESHOLD = 5


class Breaker:
    """
    The memory of one sink's failures.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.broken = False
        self._not_before = 0.0
        self._probe = asyncio.Lock()
        self._hurried = asyncio.Event()

    @contextlib.asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """
        Wait until a batch may be sent, and send it inside; while broken only one may at a time.
        """
        if not self.broken:
            await self.pause()
            yield
            return
        async with self._probe:
            await self.pause()
            yield

    def succeeded(self) -> None:
        """
        Note that a batch got through.
        """
        self.failures = 0
        self.broken = False
        self._not_before = 0.0

    def failed(self, after: float | None = None, *, refused: bool = False) -> None:
        """
        Note a failure; `after` is what the server asked for, `refused` that it does not know us.
        """
        self.failures += 1
        self.broken = self.broken or refused or self.failures >= THRESHOLD
        self.delay(self.failures, after)

    def delay(self, attempt: int, after: float | None) -> None:
        """
        Let nothing be sent for a while.
        """
        jitter = random.uniform(0, min(CAP, BASE * 2 ** min(attempt - 1, 16)))  # noqa: S311 - spreads load
        self._not_before = time.monotonic() + (jitter if after is None else after)
        self._hurried.clear()

    def hurry(self) -> None:
        """
        End the present wait: the process is about to end.
        """
        self._hurried.set()

    async def pause(self) -> None:
        """
        Wait out the delay.
        """
        while (wait := self._not_before - time.monotonic()) > 0 and not self._hurried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._hurried.wait()
