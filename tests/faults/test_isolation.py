"""One sink among five that hangs, fails or hogs: the others neither lose nor wait for more than a batch."""

import asyncio
import http.client
import itertools
import json
import threading

import pytest
from otel_llm_exporters.webhook import WebhookOptions, WebhookSink

from otel_llm.delivery.sink import DELIVERED, Batch, BlockingSink, Receipt, Rejected, Retry
from otel_llm.errors import Unauthorized
from otel_llm.settings.secret import Secret
from tests.faults.receiver import Answer

GOOD = ("a", "b", "c", "d")


class GoodSink:
    """Takes all, and notes in a common log whose turn it was."""

    Options = object

    def __init__(self, name: str, log: list[str], *, waits: bool = True) -> None:
        self.name, self.log, self.waits = name, log, waits
        self.numbers: list[int] = []

    async def open(self) -> None:
        pass

    async def send(self, batch: Batch) -> Receipt:
        if self.waits:
            await asyncio.sleep(0)
        self.log.append(self.name)
        self.numbers += [record.event.get("number") for record in batch.records]
        return Receipt.delivered()

    async def close(self) -> None:
        pass


class HangsInSend(GoodSink):
    async def send(self, _batch):
        await asyncio.Event().wait()


class HangsInOpen(GoodSink):
    async def open(self):
        await asyncio.Event().wait()


class Raises(GoodSink):
    async def send(self, _batch):
        raise SystemExit(1)


class Refuses(GoodSink):
    async def send(self, _batch):
        raise Unauthorized("401")


class NeverReady(GoodSink):
    async def send(self, _batch):
        return Receipt(Retry(after=1e9))


class Rejects(GoodSink):
    async def send(self, _batch):
        return Receipt(Rejected("no"))


class HangsInItsThread(BlockingSink):
    Options = object

    def __init__(self, _name, _log) -> None:
        self.let_go = threading.Event()

    def open(self) -> None:
        pass

    def send(self, _batch) -> Receipt:
        self.let_go.wait(30)
        return Receipt.delivered()

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "kind",
    [HangsInSend, HangsInOpen, HangsInItsThread, Raises, Refuses, NeverReady, Rejects],
    ids=lambda kind: kind.__name__,
)
def test_one_bad_sink(deliver, kind):
    """While one sink does its worst the other four get every record, in order."""
    log: list[str] = []
    bad, good = kind("bad", log), {name: GoodSink(name, log) for name in GOOD}
    books = deliver(bad=bad, **good)
    books.emit(500)
    books.until(lambda: all(books.stats(name).events_sent == 500 for name in GOOD))
    assert all(sink.numbers == list(range(500)) for sink in good.values())
    bad_stats = books.stats("bad")
    assert bad_stats.events_sent == 0
    assert bad_stats.pending_events + bad_stats.events_in_flight + bad_stats.dead == 500
    if kind is HangsInItsThread:
        bad.let_go.set()


def test_black_hole(deliver, proxy, receiver):
    """The same with a real sink whose server does not answer; it gets its records afterwards."""
    good = {name: GoodSink(name, []) for name in GOOD}
    books = deliver(
        bad=WebhookSink(WebhookOptions(url=Secret(f"http://127.0.0.1:{proxy.port}"), timeout_ms=50)), **good
    )
    proxy.behave("black_hole")
    books.emit(500)
    books.until(lambda: all(books.stats(name).events_sent == 500 for name in GOOD))
    assert books.stats("bad").events_sent == 0
    proxy.behave("pass")
    assert books.delivery.flush(20)
    assert receiver.first_numbers == list(range(500))


def test_one_greedy_sink(deliver):
    """A sink that never waits for anything does not get two batches while another one waits for its first."""
    log: list[str] = []
    greedy, good = GoodSink("greedy", log, waits=False), {name: GoodSink(name, log, waits=False) for name in GOOD}
    books = deliver(greedy=greedy, **good)
    books.emit(2000)
    assert books.delivery.flush(20)
    until_all_done = log[: max(log.index(name) for name in GOOD) + 1]
    runs = [len(tuple(run)) for name, run in itertools.groupby(log) if name == "greedy"]
    assert until_all_done.count("greedy") <= 2
    assert max(runs) <= 3
    for name in ("greedy", *GOOD):
        assert books.stats(name).events_sent == 2000


class BulkSink(BlockingSink):
    """Posts a batch, and reads a status for each record out of the answer, as search engines give it."""

    Options = object

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> None:
        self.close()
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)

    def send(self, batch: Batch) -> Receipt:
        body = b"[" + b",".join(record.body for record in batch.records) + b"]"
        self._connection.request("POST", "/_bulk", body)
        statuses = json.loads(self._connection.getresponse().read())
        return Receipt([_OUTCOMES[status] for status in statuses])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


_OUTCOMES = {201: DELIVERED, 409: DELIVERED, 429: Retry(), 400: Rejected("cannot be parsed")}


class TestBulk:
    def test_half_accepted(self, deliver, receiver):
        """Of a batch that is accepted in part only the rest is sent again, and what is refused dies alone."""
        seen: set[int] = set()

        def answer(records):
            numbers = [record["attributes"]["number"] for record in records]
            statuses = [400 if number % 10 == 7 else 201 if number in seen or number % 2 else 429 for number in numbers]
            seen.update(numbers)
            kept = [record for record, status in zip(records, statuses, strict=True) if status == 201]
            return Answer(200, body=json.dumps(statuses).encode(), kept=kept)

        receiver.answer = answer
        books = deliver(sink=BulkSink(receiver.port))
        books.emit(200)
        assert books.delivery.flush(20)
        stats = books.stats()
        assert sorted(receiver.numbers) == [number for number in range(200) if number % 10 != 7]
        assert (stats.events_sent, stats.dead, stats.retried, stats.dropped) == (180, 20, 100, 0)

    @pytest.mark.parametrize("outage", ["reset", "lose_answer", "cut_answer"])
    def test_half_accepted_and_not_told(self, deliver, proxy, receiver, outage):
        """What was accepted though its answer was lost comes again under its id, and is known."""
        known: set[str] = set()

        def answer(records):
            ids = [record["event_id"] for record in records]
            new = [record for record in records if record["event_id"] not in known]
            statuses = [409 if each in known else 201 for each in ids]
            known.update(ids)
            return Answer(200, body=json.dumps(statuses).encode(), kept=new)

        receiver.answer = answer
        books = deliver(sink=BulkSink(proxy.port))
        proxy.behave(outage)
        books.emit(100)
        books.until(lambda: books.stats().state == "broken")
        proxy.behave("pass")
        books.all_arrived()
        assert receiver.numbers == list(range(100))
