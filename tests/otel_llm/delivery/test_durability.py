"""What each durability asks of the disk, seen where the kernel is asked."""

import os

import pytest

from otel_llm.delivery import files


@pytest.fixture
def synced(monkeypatch):
    """
    Give the sizes that files had when the disk was asked to keep them.
    """
    sizes: list[int] = []

    def sync(descriptor):
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    real = files.sync
    monkeypatch.setattr(files, "sync", sync)
    return sizes


def segment_size(settings):
    return sum(path.stat().st_size for path in settings().journal_dir.glob("*/*/*.segment"))


@pytest.fixture
def start(deliver, spec, scripted):
    """
    Give a function that starts a delivery whose sink is down, so that everything stays in the journal.
    """
    return lambda durability: deliver(spec(scripted(*[OSError()] * 10_000)), durability=durability)


def test_process(start, make_event, synced):
    """`process` never waits for the disk."""
    delivery = start("process")
    for number in range(20):
        delivery.append(make_event(number))
    delivery.shutdown(0)
    assert synced == []


def test_always(start, make_event, settings, synced):
    """`always` returns from an append when the disk was asked to keep it."""
    delivery = start("always")
    for number in range(5):
        delivery.append(make_event(number))
        assert max(synced) == segment_size(settings)


def test_power(start, make_event, settings, synced, eventually):
    """`power` returns at once, and asks the disk soon after."""
    delivery = start("power")
    delivery.append(make_event(1))
    assert eventually(lambda: synced and max(synced) == segment_size(settings))
