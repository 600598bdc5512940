"""
When to try again, and with how much.

Full jitter: after the n-th failure in a row the wait is anything between 0 and 2^(n-1) seconds, 60 at most, unless the
server said how long. After five failures, or one refused authentication, the breaker is broken: one small batch at a
time goes through as a probe. Its success mends the breaker, and each further one doubles what may be sent at once, up
to full batches by all workers: a server that just came back is not run over.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncIterator

from otel_llm.delivery.clock import Clock

BASE = 1.0
CAP = 60.0
THRESHOLD = 5
LONGEST = 3600.0
"""Seconds that a server may ask for at most."""
PROBE = 1 / 16
"""The share of a full batch, and of the workers, that try whether a sink is back."""


class Breaker:
    """
    The memory of one sink's failures.
    """

    def __init__(self, workers: int = 1, clock: Clock | None = None) -> None:
        self.failures = 0
        self.broken = False
        self.workers = workers
        self._clock = clock or Clock()
        self._share = 1.0
        self._under_way = 0
        self._jitter_ends = -math.inf
        self._server_ready = -math.inf
        self._left = asyncio.Event()
        self._hurried = asyncio.Event()

    @property
    def wait(self) -> float:
        """Seconds until something may be sent."""
        return max(0.0, max(self._jitter_ends, self._server_ready) - self._clock.monotonic())

    def portion(self, batch_size: int) -> int:
        """
        Give the number of records that may travel together now.
        """
        return max(1, int(batch_size * self._share))

    @contextlib.asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """
        Wait until a batch may be sent, and send it inside.
        """
        await self._turn()
        try:
            yield
        finally:
            self._under_way -= 1
            self._left.set()

    def succeeded(self) -> None:
        """
        Note that a batch got through.
        """
        self.failures = 0
        self.broken = False
        self._share = min(1.0, self._share * 2)
        self._jitter_ends = -math.inf

    def failed(self, after: float | None = None, *, refused: bool = False) -> None:
        """
        Note a failure; `after` is what the server asked for, `refused` that it does not know us.
        """
        self.failures += 1
        self.broken = self.broken or refused or self.failures >= THRESHOLD
        if self.broken or self._share < 1:
            self._share = PROBE
        # An account may be locked over a wrong password that is tried again and again.
        self.delay(math.inf if refused else self.failures, after)

    def delay(self, attempt: float, after: float | None) -> None:
        """
        Let nothing be sent for a while.
        """
        now = self._clock.monotonic()
        if after is not None and after > 0:
            self._server_ready = max(self._server_ready, now + min(after, LONGEST))
        else:
            longest = min(CAP, BASE * 2 ** min(attempt - 1, 16))
            self._jitter_ends = now + random.uniform(0, longest)  # noqa: S311 - spreads load
        self._hurried.clear()

    def hurry(self) -> None:
        """
        End the present wait: the process is about to end.
        """
        self._hurried.set()

    async def _turn(self) -> None:
        while True:
            await self._pause()
            if self._under_way < self._most():
                self._under_way += 1
                return
            self._left.clear()
            await self._left.wait()

    def _most(self) -> int:
        return 1 if self.broken else max(1, int(self.workers * self._share))

    async def _pause(self) -> None:
        while (wait := self.wait) > 0 and not self._hurried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._clock.real(wait)):
                    await self._hurried.wait()
