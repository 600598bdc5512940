import asyncio
import json
import logging
import threading
import time

import pytest
from msgspec import structs

from otel_llm.delivery.sink import DELIVERED, Receipt, Rejected, Retry
from otel_llm.errors import MissingExtra, SettingsError, Unauthorized


def dead_letters(settings) -> list[dict]:
    return [
        json.loads(line)
        for path in settings().journal_dir.glob("*/dead-letters/*.jsonl")
        for line in path.read_text().splitlines()
    ]


@pytest.fixture
def send_all(deliver, make_event, spec, assert_balanced):
    """
    Give a function that delivers so many events through a sink and gives its stats when all is settled.
    """

    def run(sink, count: int, *, timeout: float = 10, delivered: bool = True, options=None, **changes):
        delivery = deliver(spec(sink, **(options or {})), **changes)
        for number in range(count):
            assert delivery.append(make_event(number))
        assert delivery.flush(timeout) is delivered
        stats = delivery.stats()["sink"]
        assert_balanced(stats)
        return stats

    return run


class TestOutcomes:
    def test_delivered(self, send_all, scripted):
        """Every record reaches the sink once, in order, in batches of the size asked for."""
        sink = scripted()
        stats = send_all(sink, 250, options={"batch_size": 100}, flush_interval_ms=60_000)
        assert sink.numbers == list(range(250))
        assert sink.sizes == [100, 100, 50]
        assert (stats.events_sent, stats.batches_sent, stats.pending_events) == (250, 3, 0)
        assert stats.last_flush_epoch is not None

    def test_batch_bytes(self, send_all, scripted):
        """A batch is closed before it grows beyond its bytes; a larger record goes alone."""
        sink = scripted()
        encoder = lambda event: b"x" * (100 if event.get("number") else 1000)  # noqa: E731
        send_all(sink, 8, options={"batch_bytes": 350, "encoder": encoder}, flush_interval_ms=60_000)
        assert sink.sizes == [1, 3, 3, 1]
        assert sink.numbers == list(range(8))

    def test_exception(self, send_all, scripted):
        """An exception means: retry all, after opening the sink again."""
        sink = scripted(ConnectionError("down"), ConnectionError("down"))
        stats = send_all(sink, 3)
        assert sink.numbers == [0, 1, 2]
        assert (stats.send_errors, stats.retried, sink.opened) == (2, 6, 3)

    def test_retry(self, send_all, scripted):
        """Retry keeps the records, and the order."""
        sink = scripted(Receipt(Retry()), Receipt(Retry(after=0.01)))
        stats = send_all(sink, 3)
        assert sink.numbers == [0, 1, 2]
        assert stats.send_errors == 0

    def test_partial_receipt(self, send_all, scripted, settings):
        """Each record has the fate that the receipt gives it; only what is to be retried is sent again."""
        sink = scripted(Receipt([DELIVERED, Retry(), Rejected("too old"), DELIVERED]))
        stats = send_all(sink, 4)
        assert sink.numbers == [0, 3, 1]
        assert sink.sizes == [4, 1]
        assert (stats.events_sent, stats.dead, stats.retried) == (3, 1, 1)
        (letter,) = dead_letters(settings)
        assert (letter["reason"], letter["event"]["attributes"]["number"], letter["attempts"]) == ("too old", 2, 1)

    def test_wrong_number_of_outcomes(self, send_all, scripted):
        """A receipt that does not fit its batch is a failure of the sink: retry all."""
        sink = scripted(Receipt([DELIVERED]))
        stats = send_all(sink, 3)
        assert (stats.send_errors, sorted(sink.numbers)) == (1, [0, 1, 2])

    def test_bisection(self, send_all, scripted, settings):
        """A batch refused as a whole is halved until the poison is alone; the others are delivered in order."""

        def answer(batch):
            poisoned = any(record.event.get("number") == 37 for record in batch.records)
            return Receipt(Rejected("cannot parse")) if poisoned else Receipt(DELIVERED)

        sink = scripted(*[answer] * 100)
        stats = send_all(sink, 64, flush_interval_ms=60_000)
        assert sink.numbers == [number for number in range(64) if number != 37]
        assert (stats.dead, stats.events_sent) == (1, 63)
        assert len(sink.sizes) == 1 + 2 * 6
        assert [letter["reason"] for letter in dead_letters(settings)] == ["cannot parse"]

    def test_max_attempts(self, send_all, scripted, settings):
        """With `max_attempts` a record that nobody takes becomes a dead letter."""
        sink = scripted(*[ConnectionError("no")] * 3)
        stats = send_all(sink, 1, options={"max_attempts": 3})
        assert (stats.dead, stats.events_sent) == (1, 0)
        assert dead_letters(settings)[0]["reason"].startswith("gave up after 3 attempts")

    def test_max_age(self, send_all, scripted, settings):
        """With `max_age` a record that could not be delivered in time becomes a dead letter."""
        sink = scripted(ConnectionError("no"))
        stats = send_all(sink, 1, options={"max_age": 0.0})
        assert stats.dead == 1
        assert "not delivered within 0 s" in dead_letters(settings)[0]["reason"]

    def test_encoder_that_fails(self, send_all, scripted):
        """A record that the format cannot take is buried alone."""

        def encoder(event):
            if event.get("number") == 1:
                raise ValueError("no such number")
            return b"{}"

        sink = scripted()
        stats = send_all(sink, 3, options={"encoder": encoder})
        assert sink.numbers == [0, 2]
        assert (stats.dead, stats.events_sent) == (1, 2)

    def test_several_workers(self, send_all, scripted):
        """With several workers all records arrive, whatever fails on the way."""
        sink = scripted(ConnectionError("one"), Receipt(Retry()), ConnectionError("two"))
        stats = send_all(sink, 200, options={"async_workers": 4, "batch_size": 10})
        assert sorted(sink.numbers) == list(range(200))
        assert (stats.events_sent, stats.async_workers) == (200, 4)

    @pytest.mark.parametrize("odd", [object(), 2**70, "half \ud800"], ids=["object", "wide", "surrogate"])
    def test_odd_values(self, deliver, spec, scripted, make_event, odd):
        """A record is delivered whatever a log processor put on it; what cannot be written is replaced."""
        sink = scripted()
        delivery = deliver(spec(sink))
        for event in (make_event(0), structs.replace(make_event(1, odd=odd), body=odd), make_event(2)):
            assert delivery.append(event)
        assert delivery.flush(10)
        stats = delivery.stats()["sink"]
        assert (sink.numbers, stats.events_sent, stats.dead) == ([0, 1, 2], 3, 0)

    def test_unencodable_event(self, deliver, spec, scripted, make_event, assert_balanced):
        """An event that cannot be kept is refused and counted, never raised."""
        delivery = deliver(spec(scripted()))
        assert not delivery.append(structs.replace(make_event(), timestamp_ns=2**70))
        stats = delivery.stats()["sink"]
        assert stats.events_dropped == {"unencodable": 1}
        assert_balanced(stats)


class TestRouting:
    def test_where_and_content(self, deliver, spec, scripted, make_event, assert_balanced):
        """Each sink has its own choice and its own copy."""
        seen: dict[str, list] = {"all": [], "few": []}

        def note(name):
            def encoder(event):
                seen[name].append(event)
                return b"{}"

            return encoder

        delivery = deliver(
            spec(scripted(), "all", encoder=note("all")),
            spec(scripted(), "few", encoder=note("few"), where={"event_type": "error"}, content="none"),
        )
        content = {"gen_ai__input__messages": [{"role": "user"}]}
        delivery.append(make_event(1, **content))
        delivery.append(make_event(2, otel_llm__event__type="error", **content))
        assert delivery.flush(10)
        stats = delivery.stats()
        assert [len(seen["all"]), len(seen["few"])] == [2, 1]
        assert "gen_ai.input.messages" in seen["all"][1].attributes
        assert "gen_ai.input.messages" not in seen["few"][0].attributes
        assert (stats["few"].filtered, stats["few"].events_sent) == (1, 1)
        for each in stats.values():
            assert_balanced(each)

    def test_max_rate(self, send_all, scripted):
        """What goes beyond `max_rate` is dropped, by name."""
        stats = send_all(scripted(), 20, options={"max_rate": 5.0})
        assert stats.events_dropped["max_rate"] >= 10

    def test_bad_where(self, deliver, spec, scripted):
        """A `where` that cannot be understood is told at once."""
        with pytest.raises(SettingsError, match="did you mean 'provider'"):
            deliver(spec(scripted(), where={"provder": "openai"}))

    def test_reprice(self, deliver, spec, scripted, make_event):
        """Events that came before the price book are priced on their way."""
        seen = []

        def encoder(event):
            seen.append(event.get("gen_ai.usage.cost"))
            return b"{}"

        def reprice(event):
            return event.with_attributes({"gen_ai.usage.cost": 0.5})

        delivery = deliver(spec(scripted(), encoder=encoder), reprice=reprice)
        delivery.append(make_event(otel_llm__cost__unknown_reason="book_loading"))
        delivery.append(make_event(otel_llm__cost__unknown_reason="no price"))
        assert delivery.flush(10)
        assert seen == [0.5, None]

    def test_reprice_that_fails(self, deliver, spec, scripted, make_event):
        """An event that cannot be priced afterwards goes as it is."""

        def reprice(_event):
            raise ZeroDivisionError

        sink = scripted()
        delivery = deliver(spec(sink), reprice=reprice)
        delivery.append(make_event(1, otel_llm__cost__unknown_reason="book_loading"))
        assert delivery.flush(10)
        assert sink.numbers == [1]


class TestStats:
    def test_balanced_at_any_moment(self, deliver, spec, scripted, make_event, assert_balanced):
        """The sum holds whenever one looks, whatever happens meanwhile."""
        script = [ConnectionError("no"), Receipt(Rejected("no")), Receipt(Retry())] * 30
        delivery = deliver(
            spec(scripted(*script), batch_size=7, async_workers=3, where={"label.skip": None}), flush_interval_ms=1
        )
        done = threading.Event()

        def emit() -> None:
            for number in range(1000):
                delivery.append(make_event(number, **({"otel_llm__label__skip": "yes"} if number == 3 else {})))
            done.set()

        threading.Thread(target=emit).start()
        while not done.is_set():
            assert_balanced(delivery.stats()["sink"])
        assert delivery.flush(20)
        stats = delivery.stats()["sink"]
        assert_balanced(stats)
        assert (stats.events_produced, stats.filtered, stats.pending_events) == (1000, 1, 0)


class TestSinks:
    def test_stuck_sink(self, deliver, spec, scripted, stuck, make_event, assert_balanced):
        """A sink that hangs delays neither another sink nor the application."""
        sink = scripted()
        delivery = deliver(spec(stuck, "stuck"), spec(sink, "good"))
        for number in range(20):
            delivery.append(make_event(number))
        assert stuck.entered.wait(10)
        assert not delivery.flush(0.2)
        assert sink.numbers == list(range(20))
        stats = delivery.stats()
        assert stats["stuck"].events_in_flight > 0
        assert stats["stuck"].events_sent == 0
        for each in stats.values():
            assert_balanced(each)

    def test_shutdown_deadline(self, deliver, spec, stuck, scripted, make_event, settings):
        """The end waits for a dead sink no longer than the deadline; the records stay in the journal."""
        delivery = deliver(spec(stuck, "stuck"), spec(scripted(), "good"))
        delivery.append(make_event())
        assert stuck.entered.wait(10)
        begun = time.monotonic()
        assert not delivery.shutdown(0.3)
        assert time.monotonic() - begun < 5
        assert list(settings().journal_dir.glob("*/*/*.segment"))
        assert delivery.shutdown(0.3)

    def test_missing_client(self, deliver, scripted, spec, make_event, assert_balanced, caplog):
        """A sink that cannot be made is off, said once, and its records stay; the others work."""
        sink = scripted()
        broken = spec(None, "broken")

        def make():
            raise MissingExtra("the broken sink needs its client: pip install 'otel-llm[broken]'")

        object.__setattr__(broken, "make", make)
        delivery = deliver(broken, spec(sink, "good"))
        for number in range(3):
            delivery.append(make_event(number))
            assert not delivery.flush(10)
        stats = delivery.stats()
        assert sink.numbers == [0, 1, 2]
        assert (stats["broken"].state, stats["broken"].pending_events) == ("off", 3)
        assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
        for each in stats.values():
            assert_balanced(each)

    def test_refused_authentication(self, deliver, spec, scripted, make_event):
        """A sink that does not know us breaks the circuit at once, and is mended by a success."""
        sink = scripted(Unauthorized("HTTP 401"))
        delivery = deliver(spec(sink))
        delivery.append(make_event())
        assert delivery.flush(10)
        assert delivery.stats()["sink"].state == "open"
        assert sink.numbers == [0]

    def test_blocking_sink_has_one_thread(self, deliver, spec, make_event, stuck):
        """A blocking sink runs in a daemon thread of its own."""
        delivery = deliver(spec(stuck, "stuck"))
        before = set(threading.enumerate())
        delivery.append(make_event())
        assert stuck.entered.wait(10)
        (thread,) = [each for each in set(threading.enumerate()) - before if each.name == "otel-llm-StuckSink"]
        assert thread.daemon
        stuck.let_go.set()
        assert delivery.shutdown(10)
        thread.join(10)
        assert not thread.is_alive()

    def test_instrumentation_is_suppressed(self, deliver, spec, scripted, make_event):
        """What a sink sends is nobody's telemetry, and nobody's context comes with it."""
        from opentelemetry import context
        from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

        seen = []

        def look(_batch):
            seen.append((context.get_value(_SUPPRESS_INSTRUMENTATION_KEY), context.get_value("of the application")))
            return Receipt.delivered()

        delivery = deliver(spec(scripted(look)))
        token = context.attach(context.set_value("of the application", 1))
        delivery.append(make_event())
        assert delivery.flush(10)
        context.detach(token)
        assert seen == [(True, None)]

    def test_late_sink(self, deliver, spec, scripted, make_event, assert_balanced):
        """A sink that comes later gets what is emitted from then on; one of the same name is the same."""
        first, late = scripted(), scripted()
        delivery = deliver(spec(first, "first"))
        delivery.append(make_event(1))
        delivery.add_sink(spec(late, "late"))
        delivery.add_sink(spec(scripted(), "first"))
        delivery.append(make_event(2))
        assert delivery.flush(10)
        assert (first.numbers, late.numbers) == ([1, 2], [2])
        for each in delivery.stats().values():
            assert_balanced(each)

    def test_late_sink_of_a_dead_process(self, deliver, spec, scripted, make_event, eventually, assert_balanced):
        """A sink that comes after its share of a dead process's journal was taken over gets it at once."""
        before = deliver(spec(scripted(), "first"))
        before.append(make_event(1))
        before.add_sink(spec(scripted(*[ConnectionError("down")] * 1000), "late"))
        before.append(make_event(2))
        before.shutdown(0.1)

        late = scripted()
        after = deliver(spec(scripted(), "first"))
        after.start()
        assert eventually(lambda: after._inherited)
        after.add_sink(spec(late, "late"))
        assert eventually(lambda: late.numbers == [2])
        assert eventually(lambda: not after._inherited or after._inherited[0].released)
        assert {name: stats.adopted for name, stats in after.stats().items()} == {"first": 0, "late": 1}
        for each in after.stats().values():
            assert_balanced(each)

    def test_early_sink(self, deliver, spec, scripted, make_event):
        """A sink that comes before the first event gets everything."""
        first, second = scripted(), scripted()
        delivery = deliver(spec(first, "first"))
        delivery.add_sink(spec(second, "second"))
        delivery.append(make_event(1))
        assert delivery.flush(10)
        assert (first.numbers, second.numbers) == ([1], [1])


class TestLife:
    def test_nothing_before_the_first_event(self, deliver, spec, scripted, settings):
        """Making a delivery starts nothing and writes nothing."""
        sink = scripted()
        deliver(spec(sink)).flush(1)
        assert not settings().journal_dir.exists()
        assert sink.opened == 0

    def test_no_sinks(self, deliver, make_event, settings):
        """Without a sink there is no journal."""
        assert not deliver().append(make_event())
        assert not settings().journal_dir.exists()

    def test_clean_end_leaves_nothing(self, deliver, spec, scripted, make_event, settings):
        """When everything was delivered, no journal stays behind."""
        sink = scripted()
        delivery = deliver(spec(sink))
        delivery.append(make_event())
        assert delivery.shutdown(10)
        assert sink.closed == 1
        assert [path.name for path in settings().journal_dir.rglob("*") if path.is_file()] == ["group.json"]

    def test_the_next_process_delivers(self, deliver, spec, scripted, make_event, eventually, assert_balanced):
        """What one process could not deliver, the next one of the same service and sinks does, from the start."""
        down = scripted(*[ConnectionError("down")] * 10_000)
        first = deliver(spec(down), flush_interval_ms=1)
        for number in range(5):
            first.append(make_event(number))
        assert not first.shutdown(0.2)
        assert_balanced(first.stats()["sink"])
        sink = scripted()
        second = deliver(spec(sink))
        second.start()
        assert eventually(lambda: second.stats()["sink"].events_sent == 5)
        assert sink.numbers == [0, 1, 2, 3, 4]
        stats = second.stats()["sink"]
        assert (stats.adopted, stats.events_produced) == (5, 0)
        assert eventually(lambda: second.stats()["sink"].journal_bytes == 0)
        assert_balanced(stats)

    def test_other_services_stay_apart(self, deliver, spec, scripted, make_event):
        """Nobody delivers another service's records."""
        down = scripted(*[ConnectionError("down")] * 10_000)
        first = deliver(spec(down), service_name="a")
        first.append(make_event())
        first.shutdown(0.1)
        sink, own = scripted(), make_event(7)
        second = deliver(spec(sink), service_name="b")
        second.append(own)
        assert second.flush(10)
        assert sink.ids == [own.id]

    def test_after_the_end(self, deliver, spec, scripted, make_event, settings, assert_balanced):
        """An event after the end is kept for the next process."""
        sink = scripted()
        delivery = deliver(spec(sink))
        delivery.append(make_event(1))
        assert delivery.shutdown(10)
        assert delivery.append(make_event(2))
        assert list(settings().journal_dir.glob("*/*/*.segment"))
        stats = delivery.stats()["sink"]
        assert (stats.events_sent, stats.pending_events) == (1, 1)
        assert_balanced(stats)

    def test_flush_from_the_loop(self, deliver, spec, scripted, make_event):
        """Events may be emitted and flushed inside a running event loop."""

        async def application(delivery):
            delivery.append(make_event(1))
            return await asyncio.to_thread(delivery.flush, 10)

        sink = scripted()
        assert asyncio.run(application(deliver(spec(sink))))
        assert sink.numbers == [1]

    def test_durability_memory(self, send_all, scripted, settings):
        """With durability `memory` a delivered event never touches the disk."""
        sink = scripted()
        send_all(sink, 10, durability="memory")
        assert sink.numbers == list(range(10))
        assert not settings().journal_dir.exists()

    def test_memory_leftovers(self, deliver, spec, scripted, make_event, settings):
        """With durability `memory` what could not be delivered is written out at the end."""
        delivery = deliver(spec(scripted(*[ConnectionError("down")] * 10_000)), durability="memory")
        delivery.append(make_event())
        assert not delivery.shutdown(0.1)
        assert list(settings().journal_dir.glob("*/*/*.segment"))

    def test_group_label(self, deliver, spec, scripted, make_event, settings):
        """The group's label names service and sinks, and no destination."""
        delivery = deliver(spec(scripted(), identity="postgres://user:canary@host"), service_name="shop")
        delivery.append(make_event())
        (label,) = settings().journal_dir.glob("*/group.json")
        assert json.loads(label.read_text())["service"] == "shop"
        assert "canary" not in label.read_text()
        assert list(json.loads(label.read_text())["sinks"]) == ["sink"]
