import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery import breaker
from otel_llm.delivery.breaker import Breaker
from otel_llm.delivery.clock import Clock


class StandingClock(Clock):
    """Stands still until it is moved; who waits does not wait long."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def real(self, seconds: float) -> float:
        self.now += seconds
        return 0.0


@pytest.fixture
def clock():
    """Give a clock that stands still."""
    return StandingClock()


class TestWait:
    @given(failures=st.integers(1, 40))
    def test_full_jitter(self, failures):
        """After the n-th failure the wait lies between 0 and 2^(n-1) seconds, and never beyond 60."""
        one = Breaker(clock=StandingClock())
        for _ in range(failures):
            one.failed()
        assert 0 <= one.wait <= min(60, 2 ** (failures - 1))

    def test_spread(self, clock):
        """The waits fill their range, so that many clients do not come back together."""
        waits = []
        for _ in range(300):
            one = Breaker(clock=clock)
            for _ in range(7):
                one.failed()
            waits.append(one.wait)
        assert min(waits) < 10
        assert max(waits) > 50

    def test_the_server_decides(self, clock):
        """What the server asked for is waited for, to the second."""
        one = Breaker(clock=clock)
        one.failed(after=17.5)
        assert one.wait == 17.5

    @pytest.mark.parametrize(("after", "most"), [(1e9, 3600), (math.inf, 3600), (0, 1), (-5, 1), (math.nan, 1)])
    def test_absurd_demands(self, clock, after, most):
        """No server makes a sink wait for more than an hour, and none makes it hammer."""
        one = Breaker(clock=clock)
        one.failed(after=after)
        assert 0 < one.wait <= most

    def test_another_success_does_not_hurry_the_server(self, clock):
        """A batch that gets through beside the refused one does not end the wait the server asked for."""
        one = Breaker(clock=clock)
        one.failed(after=30)
        one.succeeded()
        assert one.wait == 30

    def test_success_ends_the_backoff(self, clock):
        """A success ends a wait that nobody asked for."""
        one = Breaker(clock=clock)
        one.failed()
        one.succeeded()
        assert (one.wait, one.failures, one.broken) == (0, 0, False)

    def test_wall_clock(self, monkeypatch):
        """Waits do not hang on the time of day: it may jump."""
        monkeypatch.setattr("time.time", lambda: 0.0)
        one = Breaker()
        one.failed(after=10)
        monkeypatch.setattr("time.time", lambda: 1e10)
        assert 9 < one.wait <= 10


class TestBroken:
    def test_threshold(self, clock):
        """Five failures in a row break it, a success in between begins anew."""
        one = Breaker(clock=clock)
        for _ in range(4):
            one.failed()
        one.succeeded()
        for _ in range(4):
            one.failed()
        assert not one.broken
        one.failed()
        assert one.broken

    def test_refused(self, clock):
        """One refused authentication is enough, and is not repeated within seconds."""
        waits = []
        for _ in range(50):
            one = Breaker(clock=clock)
            one.failed(refused=True)
            waits.append(one.wait)
            assert one.broken
        assert max(waits) > 16

    async def test_probe(self, clock):
        """While broken one batch at a time goes through, however many workers there are."""
        one = Breaker(8, clock)
        one.failed(refused=True)
        assert await _most_at_once(one, 20) == 1

    async def test_workers(self, clock):
        """While whole, all workers go at once."""
        assert await _most_at_once(Breaker(8, clock), 20) == 8


class TestRamp:
    async def test_ramp(self, clock):
        """After an outage batches and workers grow with each success, from a sixteenth back to all."""
        one = Breaker(8, clock)
        for _ in range(5):
            one.failed()
        steps = [(one.portion(100), await _most_at_once(one, 16))]
        for _ in range(5):
            one.succeeded()
            steps.append((one.portion(100), await _most_at_once(one, 16)))
        assert steps == [(6, 1), (12, 1), (25, 2), (50, 4), (100, 8), (100, 8)]

    def test_relapse(self, clock):
        """A failure on the way up begins the ramp anew."""
        one = Breaker(clock=clock)
        for _ in range(5):
            one.failed()
        one.succeeded()
        one.succeeded()
        one.failed()
        assert (one.portion(160), one.broken) == (10, False)

    def test_single_failure(self, clock):
        """A single failure changes the size of nothing."""
        one = Breaker(clock=clock)
        one.failed()
        assert one.portion(100) == 100

    def test_smallest(self, clock):
        """At least one record may always go."""
        one = Breaker(clock=clock)
        one.failed(refused=True)
        assert one.portion(1) == 1


class TestHurry:
    async def test_hurry(self):
        """The end of the process ends the present wait, not the next one."""
        one = Breaker()
        one.failed(after=3000)
        waiting = asyncio.create_task(_most_at_once(one, 1))
        await asyncio.sleep(0)
        one.hurry()
        assert await asyncio.wait_for(waiting, 10) == 1
        one.failed(after=3000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_most_at_once(one, 1), 0.05)


async def _most_at_once(one: Breaker, tasks: int) -> int:
    under_way, most = 0, 0

    async def send() -> None:
        nonlocal under_way, most
        async with one.permit():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1

    await asyncio.gather(*(send() for _ in range(tasks)))
    return most


def test_constants():
    """The figures of the contract."""
    assert (breaker.BASE, breaker.CAP) == (1.0, 60.0)
