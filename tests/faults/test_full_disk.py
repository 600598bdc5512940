"""
A disk that is really full, or really read-only: a small one in memory, which only root may mount.
"""

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import Receipt
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.telemetry.event import Event, new_event_id

pytestmark = pytest.mark.slow

COUNT = 600
SIZE = 4 * 1024 * 1024


class Gate:
    """
    A sink that takes nothing until it is opened.
    """

    Options = object

    def __init__(self):
        self.is_open = False
        self.numbers = []

    async def open(self):
        pass

    async def send(self, batch):
        if not self.is_open:
            raise ConnectionError("closed")
        self.numbers += [record.event.get("number") for record in batch.records]
        return Receipt.delivered()

    async def close(self):
        pass


@pytest.fixture
def disk(tmp_path):
    """Give a disk of four megabytes."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", tmp_path], check=False)
    if made.returncode:
        pytest.skip("only root may mount a disk")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


@contextmanager
def emitting(disk, sink):
    settings = DeliverySettings(journal_dir=disk / "journal", flush_interval_ms=20, journal_min_free_bytes=1)
    made = Delivery(sinks=[SinkSpec(name="gate", make=lambda: sink, encoder=lambda _: b"{}")], settings=settings)
    try:
        yield made
    finally:
        made.shutdown(1)


def emit(delivery, first=0, count=COUNT):
    for number in range(first, first + count):
        now = time.time_ns()
        event = Event(new_event_id(), "test", now, now, 9, "INFO", {"number": number, "text": "x" * 2000})
        assert delivery.append(event)


def fill(disk):
    """
    Leave no room at all.
    """
    ballast = Path(disk) / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def remount(disk, how):
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def errors(caplog):
    return [record for record in caplog.records if record.levelname == "ERROR"]


def assert_all_arrive(delivery, sink, count):
    sink.is_open = True
    assert delivery.flush(30)
    stats = delivery.stats()["gate"]
    assert sink.numbers == list(range(count))
    assert (stats.events_produced, stats.events_sent, stats.dropped) == (count, count, 0)


def test_full_in_the_middle(disk, caplog):
    """A disk that gets full while records are emitted costs one loud warning and no record."""
    sink = Gate()
    with emitting(disk, sink) as delivery:
        emit(delivery, 0, 100)
        ballast = fill(disk)
        emit(delivery, 100)
        assert not delivery._journal.on_disk
        assert len(errors(caplog)) == 1
        ballast.unlink()
        wait_until(lambda: delivery._journal.on_disk)
        emit(delivery, 100 + COUNT, 10)
        assert_all_arrive(delivery, sink, COUNT + 110)


def test_full_by_the_journal(disk, caplog):
    """A journal that fills its disk is delivered from there, which makes room again."""
    sink = Gate()
    with emitting(disk, sink) as delivery:
        emit(delivery, 0, 4 * COUNT)
        assert not delivery._journal.on_disk
        assert len(errors(caplog)) == 1
        assert_all_arrive(delivery, sink, 4 * COUNT)
        wait_until(lambda: delivery._journal.on_disk)


def test_full_at_the_start(disk, caplog):
    """On a full disk records wait in memory, and go to disk when there is room."""
    sink = Gate()
    ballast = fill(disk)
    with emitting(disk, sink) as delivery:
        emit(delivery)
        assert len(errors(caplog)) == 1
        ballast.unlink()
        wait_until(lambda: delivery._journal.on_disk)
        assert delivery.stats()["gate"].journal_bytes > COUNT * 2000
        assert_all_arrive(delivery, sink, COUNT)


def test_full_to_the_end(disk, caplog):
    """A full disk keeps no record from its sink, and is left empty."""
    sink = Gate()
    with emitting(disk, sink) as delivery:
        emit(delivery, 0, 100)
        fill(disk)
        emit(delivery, 100)
        assert_all_arrive(delivery, sink, COUNT + 100)
    assert not list(disk.glob("journal/*/[0-9]*/*.segment"))
    assert len(errors(caplog)) == 1


def test_read_only_at_the_start(disk, caplog):
    """On a disk that cannot be written records wait in memory, and go to disk when it can."""
    sink = Gate()
    remount(disk, "ro")
    with emitting(disk, sink) as delivery:
        emit(delivery)
        assert len(errors(caplog)) == 1
        remount(disk, "rw")
        wait_until(lambda: delivery._journal.on_disk)
        assert_all_arrive(delivery, sink, COUNT)
