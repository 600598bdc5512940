"""When the disk is asked to confirm, by durability."""

import threading

import pytest

from otel_llm.delivery import files
from otel_llm.delivery.journal import Journal


@pytest.fixture
def synced(monkeypatch):
    """Give a list that grows with every sync of a file."""
    noted = []
    sync = files.sync

    def note(descriptor):
        sync(descriptor)
        noted.append(descriptor)

    monkeypatch.setattr(files, "sync", note)
    return noted


def test_process(deliver, spec, scripted, make_event, synced):
    """Durability `process` waits for no disk."""
    delivery = deliver(spec(scripted()))
    assert delivery.append(make_event())
    assert delivery.flush(10)
    assert not synced


def test_power(deliver, spec, scripted, make_event, synced, eventually):
    """With durability `power` records are synced by and by, without the emitter."""
    delivery = deliver(spec(scripted()), durability="power")
    assert delivery.append(make_event())
    assert eventually(lambda: synced)


def test_always(deliver, spec, scripted, make_event, synced):
    """With durability `always` the disk has a record when `append` returns."""
    delivery = deliver(spec(scripted()), durability="always")
    for number in range(1, 4):
        assert delivery.append(make_event())
        assert len(synced) >= number


def test_group_commit(tmp_path, settings, monkeypatch, eventually):
    """Records that arrive while the disk is busy are synced together."""
    log = Journal(tmp_path / "group", settings(durability="always"), ["s"], rejected=print, wake=lambda: None)
    entered, let_go, syncs = threading.Event(), threading.Event(), []

    def sync(descriptor):
        syncs.append(descriptor)
        entered.set()
        assert let_go.wait(20)

    monkeypatch.setattr(files, "sync", sync)
    threads = [threading.Thread(target=log.append, args=(b"%d" % number,)) for number in range(8)]
    threads[0].start()
    assert entered.wait(20)
    for thread in threads[1:]:
        thread.start()
    assert eventually(lambda: log.next == 8)
    let_go.set()
    for thread in threads:
        thread.join(20)
    log.abandon()
    assert len(syncs) == 2
