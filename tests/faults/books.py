"""The books of a delivery, which must balance whenever one looks."""

import time

from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.stats import SinkStats
from otel_llm.telemetry.event import Event, new_event_id


class Books:
    """
    A delivery, and the check that its sums hold whenever one looks.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.emitted = 0

    def emit(self, count: int, moment: int | None = None) -> None:
        """
        Append so many events, numbered on from the last one.
        """
        for number in range(self.emitted, self.emitted + count):
            now = time.time_ns() if moment is None else moment
            assert self.delivery.append(Event(new_event_id(), "test", now, now, 9, "INFO", {"number": number}))
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
        balance(self.delivery.stats())

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


def balance(every: dict[str, SinkStats]) -> None:
    """
    Check that each record of each sink is somewhere, and nowhere twice.
    """
    for stats in every.values():
        settled = stats.events_sent + stats.filtered + stats.dropped + stats.dead
        left = stats.pending_events + stats.events_in_flight
        assert min(stats.pending_events, stats.events_in_flight) >= 0, stats
        assert stats.events_produced + stats.adopted == settled + left, stats
