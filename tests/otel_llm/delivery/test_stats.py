"""The books of a sink: what they show, and that they agree with what lies on disk."""

import random
import threading
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery.backlog import groups
from otel_llm.delivery.sink import DELIVERED, Receipt, Retry
from otel_llm.delivery.stats import Ledger, SinkStats

SEED = (
    "events_produced",
    "events_sent",
    "events_dropped",
    "batches_sent",
    "batches_in_flight",
    "send_errors",
    "last_flush_epoch",
    "pending_events",
    "async_workers",
)
MORE = ("filtered", "dead", "retried", "adopted", "journal_bytes", "oldest_pending_seconds")


def test_keys():
    """The keys that dashboards know are there, and ours besides; all of it is plain JSON."""
    told = msgspec.json.decode(msgspec.json.encode(SinkStats(events_dropped={"torn": 1})))
    assert set(SEED) <= told.keys()
    assert set(MORE) <= told.keys()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 20)),
        st.tuples(st.sampled_from(["adopt", "filter", "drop", "bury", "reject"]), st.integers(1, 5)),
        st.tuples(st.just("send"), st.integers(1, 10), st.integers(0, 10), st.booleans()),
    ),
    max_size=30,
)


@given(steps)
def test_the_sum_holds_after_every_step(steps):
    """Whatever happens to records, each is counted once, and none is owed that never came."""
    ledger, appended, waiting = Ledger(1), 0, 0
    for name, *numbers in steps:
        count = min(numbers[0], waiting) if name in {"filter", "drop", "bury", "send"} else numbers[0]
        if name == "append":
            appended, waiting = appended + count, waiting + count
        elif name == "adopt":
            ledger.adopt(count)
            waiting += count
        elif name == "reject":
            ledger.reject("journal_full")
        elif name == "send":
            sent = min(numbers[1], count)
            ledger.depart(count)
            travelling = ledger.snapshot(partial(int, appended))
            assert (travelling.unaccounted, travelling.events_in_flight) == (0, count)
            assert travelling.pending_events == waiting - count
            ledger.arrive(count, sent=sent, retried=0, failed=numbers[2])
            waiting -= sent
        else:
            getattr(ledger, name)(*(("torn", count) if name == "drop" else (count,)))
            waiting -= count
        stats = ledger.snapshot(partial(int, appended))
        assert (stats.unaccounted, stats.pending_events, stats.events_in_flight) == (0, waiting, 0)


def test_the_sum_holds_at_every_moment(assert_balanced):
    """A look from another thread never sees a record twice, or not at all."""
    ledger, done = Ledger(1), threading.Event()

    def work():
        for _ in range(3000):
            ledger.depart(3)
            ledger.arrive(3, sent=2, retried=0, failed=False)
            ledger.bury()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        assert_balanced(ledger.snapshot(lambda: 9000))
    thread.join()
    assert ledger.snapshot(lambda: 9000).pending_events == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_books_agree_with_the_disk(deliver, spec, scripted, make_event, settings, assert_balanced, seed):
    """What the books call pending is, to the record, what a process leaves in its journal."""
    chance = random.Random(seed)
    answers = [Receipt(DELIVERED), Receipt(Retry()), ConnectionError("down")]
    script = [chance.choice(answers) for _ in range(chance.randint(0, 12))] + [ConnectionError("down")] * 10_000
    sink = scripted(*script)
    delivery = deliver(spec(sink), batch_size=chance.randint(1, 9))
    for number in range(chance.randint(1, 60)):
        delivery.append(make_event(number))
    delivery.flush(0.1)
    delivery.shutdown(0)
    stats = delivery.stats()["sink"]
    assert_balanced(stats)
    left = sum(group.waiting(key).pending for group in groups(settings().journal_dir) for key in group.names())
    assert left == stats.pending_events + stats.events_in_flight
