"""What waits in a journal directory, seen from outside."""

import os
import subprocess
import sys

import pytest

from otel_llm.delivery import backlog
from otel_llm.delivery.backlog import groups, sink_name
from otel_llm.delivery.sink import DELIVERED, Receipt, Rejected


@pytest.fixture
def left(deliver, spec, scripted, make_event, settings):
    """
    Give a function that leaves records behind, as a process does that ends while its sink is down, and the group.
    """

    def run(count, *names):
        down = [ConnectionError("down")] * 1000
        delivery = deliver(*(spec(scripted(*down), name=name) for name in names or ("acme",)))
        for number in range(count):
            assert delivery.append(make_event(number))
        delivery.shutdown(0)
        (group,) = groups(settings().journal_dir)
        return group

    return run


def test_no_directory(tmp_path):
    """A directory that is not there holds no group."""
    assert groups(tmp_path / "none") == []


def test_left_behind(left):
    """What a process left is counted for each sink, and the process is known to be dead."""
    group = left(5, "acme", "other")
    (journal,) = group.journals
    assert (journal.process, journal.alive, journal.pending) == (str(os.getpid()), False, 5)
    assert {group.names()[key]: group.waiting(key).pending for key in group.names()} == {"acme": 5, "other": 5}
    assert group.left == group.journals


def test_oldest(left, monkeypatch):
    """The age is that of the oldest record that a sink waits for."""
    group = left(3)
    (key,) = group.names()
    made = group.waiting(key).oldest_ns / 1e9
    monkeypatch.setattr(backlog.time, "time", lambda: made + 90)
    assert group.waiting(key).oldest_seconds == pytest.approx(90)


def test_a_journal_of_this_process(deliver, spec, stuck, make_event, settings):
    """The journal that this very process writes is a living one, and looking at it does not give its lock away."""
    delivery = deliver(spec(stuck, name="acme"))
    delivery.append(make_event(1))
    for _ in range(2):
        (journal,) = groups(settings().journal_dir)[0].journals
        assert (journal.alive, journal.pending) == (True, 1)
    taken = subprocess.run(
        [sys.executable, "-c", _TRY_LOCK, str(journal.folder / "lock")], capture_output=True, text=True, check=True
    )
    assert taken.stdout == "False\n"


def test_unreadable(left, settings):
    """A journal of a later version is shown with the reason why it cannot be read."""
    (journal,) = left(1).journals
    (segment,) = journal.folder.glob("*.segment")
    data = segment.read_bytes()
    segment.write_bytes(data[:8] + b"\x07\x00\xf8\xff" + data[12:])
    (found,) = groups(settings().journal_dir)[0].journals
    assert "version 7" in found.fault


def test_damage_does_not_hide_the_rest(left, settings):
    """Where the oldest record is damaged the age is that of the next one."""
    (journal,) = left(3).journals
    (segment,) = journal.folder.glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[60] ^= 0xFF
    segment.write_bytes(bytes(data))
    (found,) = groups(settings().journal_dir)[0].journals
    (waiting,) = found.waiting.values()
    assert (waiting.pending, waiting.oldest_ns is not None) == (3, True)


def test_dead_letters(deliver, spec, scripted, make_event, settings):
    """Dead letters are counted, and known by their sink."""
    delivery = deliver(spec(scripted(Receipt([DELIVERED, Rejected("no")])), name="acme"), flush_interval_ms=60_000)
    for number in range(2):
        delivery.append(make_event(number))
    assert delivery.flush(10)
    (group,) = groups(settings().journal_dir)
    (file,) = group.dead
    assert (sink_name(file.sink), file.letters, file.bytes) == ("acme", 1, file.path.stat().st_size)


_TRY_LOCK = """
import os, sys
from otel_llm.delivery.files import try_lock
print(try_lock(os.open(sys.argv[1], os.O_WRONLY)))
"""
