"""An adoption that is still under way when its process's delivery is shut down."""

import threading

from otel_llm.delivery import adoption
from otel_llm.delivery.backlog import group, is_held


def test_it_holds_nothing_afterwards(deliver, spec, scripted, make_event, monkeypatch, eventually):
    """What it finds after the end, be it the journal that was just closed, is free for the next one."""
    entered, closed, done = threading.Event(), threading.Event(), threading.Event()
    real = adoption.adopt

    def adopt(folder, sinks):
        entered.set()
        assert closed.wait(10)
        try:
            return real(folder, sinks)
        finally:
            done.set()

    monkeypatch.setattr(adoption, "adopt", adopt)
    first = deliver(spec(scripted(*[ConnectionError("down")] * 1000)))
    first.append(make_event(1))
    assert entered.wait(10)
    first.shutdown(0)
    closed.set()
    assert done.wait(10)
    (journal,) = group(first._group).journals
    assert eventually(lambda: not is_held(journal.folder))
    sink = scripted()
    deliver(spec(sink))._open_journal()
    assert eventually(lambda: sink.numbers == [1])
