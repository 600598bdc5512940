"""
What happens to records while their server is away: ten minutes, in half a second each.

A real sink posts through a real proxy to a real server. Only the courier's clock runs fast.
"""

import itertools
import json
import time

import httpx2
import pytest
from otel_llm_exporters.webhook import WebhookOptions, WebhookSink

import otel_llm
from otel_llm.settings.secret import Secret
from tests.faults.books import balance
from tests.faults.receiver import Answer

MINUTES = 60.0


@pytest.fixture
def books(deliver, proxy):
    """Give a delivery by webhook through the proxy, after its first records arrived."""
    return _begun(deliver(sink=_webhook(proxy.port, 5000)))


@pytest.fixture
def hasty(deliver, proxy):
    """Give the same with a webhook that does not wait long: less than a minute of the fast clock."""
    return _begun(deliver(sink=_webhook(proxy.port, 30)))


class TestTenMinutes:
    @pytest.mark.parametrize("outage", ["refuse", "black_hole", "reset", "lose_answer", "cut_answer", "trickle"])
    def test_network(self, hasty, proxy, receiver, clock, outage):
        """Whatever the network does for ten minutes, each record arrives, in order, and a repetition under its id."""
        proxy.behave(outage)
        hasty.emit(300)
        begun, requests = clock.monotonic(), proxy.connections
        hasty.until(lambda: clock.monotonic() - begun > 10 * MINUTES)
        stats = hasty.stats()
        assert stats.state == "broken"
        assert stats.events_sent < 350
        assert 5 <= stats.send_errors <= 80
        assert proxy.connections - requests <= 80
        before = len(receiver.sizes)
        proxy.behave("pass")
        stats = hasty.all_arrived()
        assert stats.state == "open"
        assert receiver.first_numbers == list(range(350))
        assert len(set(receiver.ids)) == 350
        assert receiver.sizes[before] == 1

    @pytest.mark.parametrize(
        "status", [500, *(pytest.param(each, marks=pytest.mark.slow) for each in (302, 404, 408, 503))]
    )
    def test_server(self, books, receiver, clock, status):
        """A storm of refusals is a wait, not a loss."""
        receiver.answer = lambda _records: Answer(status, {"location": "http://127.0.0.1:9/"}, b"try later")
        books.emit(100)
        begun = clock.monotonic()
        books.until(lambda: clock.monotonic() - begun > 10 * MINUTES)
        assert books.stats().state == "broken"
        assert f"{status}" in books.stats().last_error
        assert len(receiver.sizes) <= 80
        receiver.answer = lambda _records: Answer()
        books.all_arrived()
        assert receiver.first_numbers == list(range(150))

    def test_flapping(self, hasty, proxy, receiver):
        """A network that comes and goes loses nothing either."""
        for outage in ("reset", "pass", "lose_answer", "pass", "refuse", "black_hole", "pass", "cut_answer"):
            proxy.behave(outage)
            hasty.emit(40)
            sends = hasty.stats().send_errors + hasty.stats().batches_sent
            hasty.until(lambda: hasty.stats().send_errors + hasty.stats().batches_sent > sends)  # noqa: B023
        proxy.behave("pass")
        hasty.all_arrived()
        assert receiver.first_numbers == list(range(370))
        assert len(set(receiver.ids)) == 370


class TestWhatTheServerAsksFor:
    def test_retry_after(self, books, receiver, clock):
        """429 with `Retry-After` is obeyed to the second, and then the records come."""
        receiver.answer = lambda _records: Answer(429, {"retry-after": "120"})
        receiver.times.clear()
        books.emit(10)
        books.until(lambda: len(receiver.times) >= 3)
        told = receiver.times[:3]
        assert [later - earlier >= 120 for earlier, later in itertools.pairwise(told)] == [True, True]
        receiver.answer = lambda _records: Answer()
        books.all_arrived()
        assert receiver.first_numbers == list(range(60))
        assert clock.monotonic() - told[-1] >= 120

    def test_credentials(self, books, receiver, clock):
        """401 stops the sink at once and is asked about seldom; when it is put right everything arrives."""
        receiver.answer = lambda _records: Answer(401, body=b"who are you?")
        requests = len(receiver.sizes)
        books.emit(100)
        books.until(lambda: books.stats().send_errors)
        stats = books.stats()
        assert (stats.state, stats.dead, stats.dropped) == ("broken", 0, 0)
        assert stats.last_error.startswith("401 Unauthorized from 127.0.0.1")
        begun = clock.monotonic()
        books.until(lambda: clock.monotonic() - begun > 10 * MINUTES)
        assert len(receiver.sizes) - requests <= 60
        receiver.answer = lambda _records: Answer()
        books.all_arrived()
        assert receiver.first_numbers == list(range(150))

    def test_too_large(self, books, receiver):
        """413 is answered with smaller batches, down to one record."""
        receiver.answer = lambda records: Answer(413 if len(records) > 1 else 200)
        books.emit(40)
        books.all_arrived()
        assert receiver.first_numbers == list(range(90))

    def test_poison(self, books, receiver):
        """One record that the server never takes goes to the dead letters; the 99 around it arrive."""
        poisoned = lambda records: any(record["attributes"]["number"] == 73 for record in records)  # noqa: E731
        receiver.answer = lambda records: Answer(400 if poisoned(records) else 200)
        books.emit(100)
        assert books.delivery.flush(10)
        stats = books.stats()
        assert (stats.dead, stats.events_sent, stats.dropped) == (1, 149, 0)
        assert receiver.first_numbers == [number for number in range(150) if number != 73]


class TestGivingUp:
    """Only who asks for it: by default a sink tries for as long as the journal keeps a record."""

    def test_max_age(self, deliver, proxy, receiver, clock):
        """With `max_age` an outage turns what grew too old into dead letters; what came later arrives."""
        books = _begun(deliver({"max_age": 5 * MINUTES}, sink=_webhook(proxy.port, 5000)))
        proxy.behave("refuse")
        books.emit(100)
        books.until(lambda: books.stats().dead == 100)
        proxy.behave("pass")
        late = time.time_ns() + int((clock.time() - time.time()) * 1e9)
        books.emit(30, moment=late)
        assert books.delivery.flush(20)
        stats = books.stats()
        assert (stats.events_sent, stats.dead, stats.dropped) == (80, 100, 0)
        assert receiver.first_numbers == [*range(50), *range(150, 180)]

    def test_max_attempts(self, deliver, proxy, receiver, tmp_path):
        """With `max_attempts` each record is a dead letter after so many, and none is lost between the two."""
        books = _begun(deliver({"max_attempts": 3}, sink=_webhook(proxy.port, 5000)))
        proxy.behave("refuse")
        books.emit(100)
        books.until(lambda: books.stats().dead > 20)
        proxy.behave("pass")
        assert books.delivery.flush(20)
        stats = books.stats()
        assert stats.events_sent + stats.dead == 150
        (path,) = tmp_path.glob("journal/*/dead-letters/*.jsonl")
        letters = [json.loads(line) for line in path.read_text().splitlines()]
        assert {letter["attempts"] for letter in letters} == {3}
        buried = [letter["event"]["attributes"]["number"] for letter in letters]
        assert sorted(receiver.first_numbers + buried) == list(range(150))


class TestTheWholeRoad:
    @pytest.mark.parametrize("outage", ["refuse", "lose_answer"])
    def test_application(self, telemetry, server, proxy, receiver, tmp_path, outage):  # noqa: ARG002
        """An application's calls, with a sink from the settings: nothing is lost, and `otel_llm.stats()` says so."""
        webhook = {"url": f"http://127.0.0.1:{proxy.port}/llm"}
        otel_llm.configure(sinks={"webhook": webhook}, journal_dir=str(tmp_path / "journal"), flush_interval_ms=20)
        proxy.behave(outage)
        with httpx2.Client() as client:
            for _ in range(30):
                question = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
                client.post(f"{server.openai_url}/chat/completions", json=question).raise_for_status()
        assert not otel_llm.flush(0.2)
        balance(otel_llm.stats())
        proxy.behave("pass")
        assert otel_llm.flush(20)
        balance(otel_llm.stats())
        stats = otel_llm.stats()["webhook"]
        assert (stats.events_produced, stats.events_sent, stats.dead, stats.events_dropped) == (30, 30, 0, {})
        assert len(set(receiver.ids)) == 30
        assert stats.send_errors > 0


def _webhook(port: int, timeout_ms: int) -> WebhookSink:
    return WebhookSink(WebhookOptions(url=Secret(f"http://127.0.0.1:{port}/llm"), timeout_ms=timeout_ms))


def _begun(books):
    books.emit(50)
    books.all_arrived()
    return books
