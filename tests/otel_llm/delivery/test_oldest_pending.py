"""The age of the oldest record that a sink still waits for."""

import time

import pytest

from otel_llm.delivery.frames import Frame
from otel_llm.delivery.made import made_ns
from otel_llm.errors import MissingExtra

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def old_event(make_event):
    """
    Give a function that makes an event some hours old.
    """

    def make(hours):
        event = make_event(hours)
        return type(event)(event.id, event.name, time.time_ns() - hours * HOUR_NS, 0, 9, "INFO", event.attributes)

    return make


def hours(delivery):
    """Give the age in whole hours."""
    return round(delivery.stats()["sink"].oldest_pending_seconds / 3600)


def test_nothing_waits(deliver, spec, scripted, make_event):
    """When all has arrived nothing is pending, and nothing is old."""
    delivery = deliver(spec(scripted()))
    delivery.append(make_event(1))
    assert delivery.flush(10)
    assert delivery.stats()["sink"].oldest_pending_seconds == 0


def test_on_its_way(deliver, spec, stuck, old_event, eventually):
    """What a sink is busy with counts."""
    delivery = deliver(spec(stuck))
    delivery.append(old_event(3))
    assert eventually(stuck.entered.is_set)
    delivery.append(old_event(1))
    assert hours(delivery) == 3


@pytest.mark.parametrize("durability", ["process", "memory"])
def test_a_sink_that_is_off(deliver, spec, old_event, eventually, durability):
    """Records that nobody is going to send grow old in the journal, on disk or in memory."""

    def missing():
        raise MissingExtra("pip install it")

    class Missing:
        Options = object

    found = spec(Missing())
    delivery = deliver(type(found)(name="sink", make=missing, encoder=found.encoder), durability=durability)
    delivery.append(old_event(5))
    assert eventually(lambda: delivery.stats()["sink"].state == "off")
    delivery.append(old_event(2))
    assert hours(delivery) == 5


def test_an_inherited_journal(deliver, spec, scripted, stuck, old_event, eventually):
    """What a dead process left is older than what this one emits, also before its turn has come."""
    first = deliver(spec(scripted(*[ConnectionError("down")] * 1000)))
    first.append(old_event(7))
    first.shutdown(0)
    second = deliver(spec(stuck))
    second.append(old_event(1))
    assert eventually(lambda: second.stats()["sink"].adopted == 1)
    assert eventually(stuck.entered.is_set)
    assert hours(second) == 7


class Memory:
    """A journal whose only record is damaged."""

    next = 1
    store = None

    def recent(self, _sequence):
        return []

    def beyond(self, _sequence):
        return [Frame(0, b"\xc1")]


def test_unreadable():
    """Nobody knows how old a damaged record is."""
    assert made_ns(Memory(), 0) is None
