"""A delivery whose clock runs fast, and the books that must balance."""

import time
from pathlib import Path

import pytest

from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.delivery.stats import SinkStats
from otel_llm.formats import find
from otel_llm.telemetry.event import Event, new_event_id
from tests.faults.fast_clock import FastClock
from tests.faults.receiver import Receiver
from tests.faults.tcp_proxy import TcpProxy


class Books:
    """
    A delivery, and the check that its sums hold whenever one looks.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.emitted = 0

    def emit(self, count: int, **attributes: object) -> None:
        """
        Append so many events, numbered on from the last one.
        """
        for number in range(self.emitted, self.emitted + count):
            now = time.time_ns()
            assert self.delivery.append(
                Event(new_event_id(), "test", now, now, 9, "INFO", {"number": number, **attributes})
            )
        self.emitted += count

    def stats(self, name: str = "sink") -> SinkStats:
        """
        Give one sink's counts after checking everybody's.
        """
        self.check()
        return self.delivery.stats()[name]

    def check(self) -> None:
        """
        Check every sink's sum.
        """
        for stats in self.delivery.stats().values():
            settled = stats.events_sent + stats.filtered + stats.dropped + stats.dead
            left = stats.pending_events + stats.events_in_flight
            assert min(stats.pending_events, stats.events_in_flight) >= 0, stats
            assert stats.events_produced + stats.adopted == settled + left, stats

    def until(self, condition, seconds: float = 20) -> None:
        """
        Wait until a condition holds; the sums must hold meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.delivery.stats()
            self.check()
            time.sleep(0.005)

    def all_arrived(self, seconds: float = 20) -> SinkStats:
        """
        Flush, and give the counts when nothing is lost, dead or left.
        """
        assert self.delivery.flush(seconds), self.stats()
        stats = self.stats()
        assert (stats.events_produced, stats.events_sent) == (self.emitted, self.emitted), stats
        assert (stats.dropped, stats.dead, stats.pending_events) == (0, 0, 0)
        return stats


@pytest.fixture
def clock():
    """Give a clock that is 1500 times as fast as the machine's."""
    return FastClock()


@pytest.fixture
def receiver(clock):
    """Give a server that collects records."""
    with Receiver(clock.monotonic) as running:
        yield running


@pytest.fixture
def proxy(receiver):
    """Give a proxy before it."""
    with TcpProxy(receiver.port) as running:
        yield running


@pytest.fixture
def deliver(tmp_path: Path, clock: FastClock):
    """
    Give a function that makes a delivery of sinks by name, whose waits are as fast as the clock.
    """
    made: list[Delivery] = []
    encode = find("otel").encode

    def make(options=None, **sinks) -> Books:
        each = {"batch_size": 20, "encoder": encode, **(options or {})}
        specs = [SinkSpec(name=name, make=lambda sink=sink: sink, **each) for name, sink in sinks.items()]
        settings = DeliverySettings(journal_dir=tmp_path / "journal", flush_interval_ms=20, clock=clock)
        made.append(Delivery(sinks=specs, settings=settings))
        return Books(made[-1])

    yield make
    for delivery in made:
        delivery.shutdown(0.2)
