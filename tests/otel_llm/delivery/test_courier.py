"""A courier and its sink: hanging, refusing, raising; what is said of it, and what each sink has for itself."""

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import random
import threading
import time

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from otel_llm.delivery import timed
from otel_llm.delivery.clock import Clock
from otel_llm.delivery.sink import DELIVERED, BlockingSink, Receipt, Rejected, Retry
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.settings.secret import Secret

CANARY = "canary of the prompt, number 71"


def dead_letters(settings) -> list[dict]:
    return [
        json.loads(line)
        for path in sorted(settings().journal_dir.glob("*/dead-letters/*.jsonl"))
        for line in path.read_text().splitlines()
    ]


class HangingSink(BlockingSink):
    """Hangs in its first calls of `send`; the others deliver."""

    Options = object

    def __init__(self, let_go: threading.Event, hangs: list[bool], numbers: list[int]) -> None:
        self._let_go, self._hangs, self._numbers = let_go, hangs, numbers

    def open(self) -> None:
        pass

    def send(self, batch) -> Receipt:
        if self._hangs and self._hangs.pop():
            self._let_go.wait(30)
            return Receipt(Rejected("too late to be heard"))
        self._numbers += [record.event.get("number") for record in batch.records]
        return Receipt.delivered()

    def close(self) -> None:
        pass


class Later(Clock):
    """A clock that is so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def time(self) -> float:
        return time.time() + self._seconds


@pytest.fixture
def send_all(deliver, make_event, spec, assert_balanced):
    """
    Give a function that delivers so many events through a sink and gives its stats when all is settled.
    """

    def run(sink, count: int, *, options=None, attributes=None, **changes):
        delivery = deliver(spec(sink, **(options or {})), **changes)
        for number in range(count):
            assert delivery.append(make_event(number, **(attributes or {})))
        assert delivery.flush(10)
        stats = delivery.stats()["sink"]
        assert_balanced(stats)
        return stats

    return run


class TestHanging:
    def test_send(self, send_all, scripted):
        """A send that never ends is given up, counted as a failure, and its batch sent again."""

        class Hanging(scripted):
            async def send(self, batch):
                if self.opened == 1:
                    await asyncio.Event().wait()
                return await super().send(batch)

        sink = Hanging()
        stats = send_all(sink, 3, options={"send_timeout_ms": 20})
        assert sink.numbers == [0, 1, 2]
        assert (stats.send_errors, stats.retried, sink.opened) == (1, 3, 2)
        assert stats.last_error == "the sink did not answer in time"

    def test_open(self, send_all, scripted):
        """So is an `open` that never ends."""

        class Hanging(scripted):
            async def open(self):
                await super().open()
                if self.opened == 1:
                    await asyncio.Event().wait()

        sink = Hanging()
        stats = send_all(sink, 1, options={"send_timeout_ms": 20})
        assert (sink.numbers, stats.send_errors) == ([0], 1)

    def test_stubborn(self, deliver, spec, scripted, make_event, assert_balanced, monkeypatch):
        """A sink that even ignores being cancelled is replaced by another one, and keeps no exit waiting."""
        monkeypatch.setattr(timed, "GRACE", 0.02)
        let_go, made = threading.Event(), []

        class Stubborn(scripted):
            async def send(self, batch):
                while made[0] is self and not let_go.is_set():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(0.005)
                return await super().send(batch)

        def make():
            made.append(Stubborn())
            return made[-1]

        given = spec(None, send_timeout_ms=20)
        object.__setattr__(given, "make", make)
        delivery = deliver(given)
        delivery.append(make_event(7))
        assert delivery.flush(10)
        stats = delivery.stats()["sink"]
        assert (len(made), made[1].numbers, stats.events_sent, stats.send_errors) == (2, [7], 1, 1)
        assert_balanced(stats)
        assert delivery.shutdown(1)
        let_go.set()

    def test_thread(self, deliver, spec, make_event, assert_balanced):
        """A blocking sink that never comes back is replaced by another one; what it says later is not heard."""
        let_go, hangs, numbers = threading.Event(), [True], []
        given = spec(None, send_timeout_ms=20)
        object.__setattr__(given, "make", lambda: HangingSink(let_go, hangs, numbers))
        delivery = deliver(given)
        for number in range(3):
            delivery.append(make_event(number))
        assert delivery.flush(10)
        let_go.set()
        stats = delivery.stats()["sink"]
        assert sorted(numbers) == [0, 1, 2]
        assert (stats.events_sent, stats.dead, stats.send_errors) == (3, 0, 1)
        assert_balanced(stats)

    def test_threads_are_bounded(self, deliver, spec, make_event, eventually, assert_balanced):
        """However often it hangs, there are four threads at most; when one comes back it goes on."""
        let_go, numbers = threading.Event(), []
        made = []

        def make():
            made.append(HangingSink(let_go, [True], numbers))
            return made[-1]

        given = spec(None, send_timeout_ms=5)
        object.__setattr__(given, "make", make)
        delivery = deliver(given)
        delivery.append(make_event(7))
        assert eventually(lambda: delivery.stats()["sink"].send_errors > 10)
        assert len(made) == 4
        let_go.set()
        assert delivery.flush(10)
        assert numbers[0] == 7
        assert_balanced(delivery.stats()["sink"])

    def test_slow_is_not_hanging(self, send_all, scripted):
        """Without the option a sink has two minutes."""

        class Slow(scripted):
            async def send(self, batch):
                await asyncio.sleep(0.1)
                return await super().send(batch)

        assert send_all(Slow(), 1).send_errors == 0


class TestRaising:
    @pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt(), RuntimeError()])
    def test_asynchronous(self, send_all, scripted, error):
        """Whatever a sink raises, its courier lives, and so does the loop it shares with the others."""

        def answer(_batch):
            raise error

        sink = scripted(answer)
        stats = send_all(sink, 2)
        assert (sink.numbers, stats.send_errors) == ([0, 1], 1)

    @pytest.mark.parametrize("error", [StopIteration(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
    def test_blocking(self, send_all, error):
        """The same in a thread."""
        errors, numbers = [error], []

        class Raising(HangingSink):
            def send(self, batch):
                if errors:
                    raise errors.pop()
                return super().send(batch)

        stats = send_all(Raising(threading.Event(), [], numbers), 2)
        assert (numbers, stats.send_errors) == ([0, 1], 1)

    @pytest.mark.parametrize("answer", [None, "delivered", Receipt(None), Receipt([None, DELIVERED])])
    def test_nonsense(self, send_all, scripted, answer):
        """An answer that is no receipt is a failure: retry all."""

        class Odd(scripted):
            async def send(self, batch):
                return answer if self.opened == 1 else await super().send(batch)

        sink = Odd()
        stats = send_all(sink, 2)
        assert (sink.numbers, stats.events_sent) == ([0, 1], 2)


class TestBisection:
    @pytest.mark.parametrize("exponent", [0, 1, 4, 8])
    def test_sends(self, send_all, scripted, exponent):
        """One poison record among n costs 2·log2(n) sends besides the first."""
        count = 2**exponent
        sink = scripted(*[_refuse({count // 3})] * 100)
        stats = send_all(sink, count, options={"batch_size": count}, flush_interval_ms=60_000)
        assert len(sink.sizes) == 1 + 2 * exponent
        assert (stats.dead, stats.events_sent) == (1, count - 1)

    @hypothesis(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(poison=st.sets(st.integers(0, 39)), batch_size=st.integers(1, 50))
    def test_any_poison(self, send_all, scripted, poison, batch_size):
        """Whatever is poisoned, exactly that dies, and the rest arrives in order."""
        sink = scripted(*[_refuse(poison)] * 1000)
        stats = send_all(sink, 40, options={"batch_size": batch_size})
        assert sink.numbers == [number for number in range(40) if number not in poison]
        assert (stats.dead, stats.events_sent) == (len(poison), 40 - len(poison))

    def test_too_large(self, send_all, scripted):
        """A server that refuses by size (413) gets smaller batches and loses nothing."""

        def answer(batch):
            return Receipt(Rejected("413") if len(batch.records) > 3 else DELIVERED)

        sink = scripted(*[answer] * 1000)
        stats = send_all(sink, 50, flush_interval_ms=60_000)
        assert (sink.numbers, stats.dead) == (list(range(50)), 0)


class TestRamp:
    def test_after_an_outage(self, send_all, scripted):
        """A server that comes back gets a small batch first, then larger ones; order and records stay."""
        sink = scripted(*[ConnectionError()] * 6)
        stats = send_all(sink, 400, options={"batch_size": 64}, flush_interval_ms=60_000)
        assert sink.sizes[:6] == [64, 64, 64, 64, 64, 4]
        assert sink.sizes[6:12] == [4, 8, 16, 32, 4, 64]
        assert sink.numbers == list(range(400))
        assert stats.state == "open"

    def test_workers(self, deliver, spec, make_event, assert_balanced):
        """All workers do not fall upon it together."""
        under_way, seen = [0], []

        class Counting:
            Options = object
            down = 40

            async def open(self):
                pass

            async def send(self, _batch):
                under_way[0] += 1
                seen.append(under_way[0])
                await asyncio.sleep(0.002)
                under_way[0] -= 1
                if len(seen) <= self.down:
                    raise ConnectionError
                return Receipt.delivered()

            async def close(self):
                pass

        delivery = deliver(spec(Counting(), async_workers=8, batch_size=10))
        for number in range(1000):
            delivery.append(make_event(number))
        assert delivery.flush(20)
        assert max(seen[20:42]) == 1
        assert max(seen) == 8
        assert_balanced(delivery.stats()["sink"])


class TestAuthentication:
    def test_refused(self, deliver, spec, scripted, make_event, eventually, assert_balanced, caplog):
        """Refused credentials break the circuit at the first send, and are said once; a success mends it."""
        answers = [Unauthorized("HTTP 401 from api.example.com")] * 3
        sink = scripted(*answers)
        states = []

        def watch(*_):
            states.append(delivery.stats()["sink"].state)
            return Receipt.delivered()

        sink.script.append(watch)
        delivery = deliver(spec(sink))
        delivery.append(make_event(0))
        assert eventually(lambda: sink.opened == 4)
        assert delivery.flush(10)
        assert states == ["broken"]
        stats = delivery.stats()["sink"]
        assert (stats.state, stats.send_errors) == ("open", 3)
        errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1
        assert "does not accept our credentials" in errors[0]
        assert "HTTP 401 from api.example.com" in errors[0]
        assert_balanced(stats)


class TestWords:
    """Nothing of a prompt or secret in stats, log and dead letters."""

    ERRORS = (
        ValueError(f"cannot send {CANARY}"),
        ConnectionError(CANARY),
        NotDelivered(f"HTTP 500: cannot index '{CANARY}' with swordfish"),
        Receipt(Retry(reason=f"HTTP 503 for swordfish: {CANARY}")),
    )

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_retried(self, send_all, scripted, caplog, error):
        """What a sink raises is told without what it quotes and without its secrets."""
        sink = scripted(error)
        sink._password = Secret("swordfish")
        stats = send_all(sink, 1, attributes={"gen_ai__input__messages": CANARY})
        told = stats.last_error + caplog.text
        assert "canary" not in told
        assert "swordfish" not in told

    def test_status(self, send_all, scripted):
        """What operators need stays."""
        stats = send_all(scripted(Receipt(Retry(reason="HTTP 503 from api"))), 1)
        assert stats.last_error == "HTTP 503 from api"

    def test_rejected(self, send_all, scripted, caplog, settings):
        """A rejection's reason stands in the dead letter, beside its record, without secrets, and not in the log."""
        sink = scripted(Receipt(Rejected(f"cannot map '{CANARY}' with swordfish")))
        sink._password = Secret("swordfish")
        send_all(sink, 1)
        (letter,) = dead_letters(settings)
        assert letter["reason"] == f"cannot map '{CANARY}' with [REDACTED]"
        assert "canary" not in caplog.text
        assert "dead-letters" in caplog.text

    def test_encoder(self, send_all, scripted, caplog, settings):
        """A format that fails tells by which error, not about what."""

        def encoder(_event):
            raise ValueError(CANARY)

        send_all(scripted(), 1, options={"encoder": encoder})
        (letter,) = dead_letters(settings)
        assert letter["reason"].startswith("cannot be encoded: ValueError at test_courier.py:")
        assert "canary" not in caplog.text

    def test_reprice(self, deliver, spec, scripted, make_event, caplog):
        """A price book that fails does not tell about what either."""

        def reprice(_event):
            raise ValueError(CANARY)

        delivery = deliver(spec(scripted()), reprice=reprice)
        delivery.append(make_event(otel_llm__cost__unknown_reason="book_loading"))
        assert delivery.flush(10)
        assert "canary" not in caplog.text
        assert "ValueError" in caplog.text

    def test_background(self, send_all, scripted, caplog, eventually):
        """Nor does a client's own task that fails unseen: asyncio would print all it says."""

        class Background(scripted):
            async def send(self, batch):
                self.task = asyncio.create_task(self.fail())
                await asyncio.wait([self.task])
                del self.task
                return await super().send(batch)

            async def fail(self):
                raise ValueError(CANARY)

        send_all(Background(), 1)
        gc.collect()
        assert eventually(lambda: "in the background of a sink: ValueError" in caplog.text)
        assert "canary" not in caplog.text


class TestEachSinkForItself:
    """Options of one sink work on its own copy, and nothing else sees them."""

    @pytest.mark.parametrize(
        ("options", "settled"),
        [
            ({"where": {"number": ">100"}, "name": "where"}, {"filtered": 20}),
            ({"sample": 0.0}, {"filtered": 20}),
            ({"max_rate": 1.0}, {"events_sent": 1, "dropped": 19}),
            ({"max_age": 60.0}, {"dead": 20}),
        ],
        ids=lambda given: next(iter(given)),
    )
    def test_options(self, deliver, spec, scripted, make_event, assert_balanced, options, settled):
        """What one sink leaves out, the other one gets."""
        options = {name: value for name, value in options.items() if name != "name"}
        if "where" in options:
            options["where"] = {"input_tokens": ">100"}
        choosy, plain = scripted(), scripted()
        delivery = deliver(spec(choosy, "choosy", **options), spec(plain, "plain"), clock=Later(3600))
        for number in range(20):
            delivery.append(make_event(number))
        assert delivery.flush(10)
        stats = delivery.stats()
        assert plain.numbers == list(range(20))
        assert {name: getattr(stats["choosy"], name) for name in settled} == settled
        assert stats["plain"].events_sent == 20
        for each in stats.values():
            assert_balanced(each)

    def test_max_attempts(self, deliver, spec, scripted, make_event, assert_balanced, settings):
        """One sink gives up after its attempts, the other one is patient."""
        hasty, patient = scripted(*[ConnectionError()] * 4), scripted(*[ConnectionError()] * 4)
        delivery = deliver(spec(hasty, "hasty", max_attempts=2), spec(patient, "patient"))
        delivery.append(make_event(1))
        assert delivery.flush(10)
        stats = delivery.stats()
        assert (stats["hasty"].dead, stats["patient"].events_sent) == (1, 1)
        (letter,) = dead_letters(settings)
        assert (letter["attempts"], letter["sink"].partition("-")[0]) == (2, "hasty")
        assert letter["reason"].startswith("gave up after 2 attempts: ConnectionError at ")
        for each in stats.values():
            assert_balanced(each)

    def test_copies(self, deliver, spec, scripted, make_event, settings):
        """Content and redaction change one sink's body and dead letters, never another's."""
        bodies: dict[str, str] = {}

        def encoder(name):
            def encode(event):
                bodies[name] = json.dumps(event.attributes)
                return b"{}"

            return encode

        refuse = Receipt(Rejected("no"))
        specs = [
            spec(scripted(refuse), "bare", encoder=encoder("bare"), content="none"),
            spec(scripted(refuse), "veiled", encoder=encoder("veiled"), redact=["gen_ai.*.messages"]),
            spec(scripted(), "whole", encoder=encoder("whole")),
        ]
        delivery = deliver(*specs)
        delivery.append(make_event(1, gen_ai__input__messages=[CANARY]))
        assert delivery.flush(10)
        assert [name for name in ("bare", "veiled", "whole") if "canary" in bodies[name]] == ["whole"]
        letters = dead_letters(settings)
        assert len(letters) == 2
        assert "canary" not in json.dumps(letters)

    def test_old_records_are_not_sent(self, send_all, scripted, settings):
        """With `max_age` what is too old is buried without a send: some servers misdate it."""
        sink = scripted()
        stats = send_all(sink, 3, options={"max_age": 64_800.0}, clock=Later(64_900))
        assert (sink.sizes, stats.dead) == ([], 3)
        assert {letter["reason"] for letter in dead_letters(settings)} == {"not delivered within 64800 s"}

    def test_rate_at_the_edge_of_a_batch(self, send_all, scripted):
        """A record that did not fit into a batch counts once, and is encoded once."""
        encoded = []

        def encoder(event):
            encoded.append(event.get("number"))
            return b"x" * 100

        sink = scripted()
        stats = send_all(sink, 20, options={"batch_bytes": 250, "max_rate": 20.0, "encoder": encoder})
        assert stats.events_dropped == {}
        assert encoded == list(range(20)) == sink.numbers


class TestFates:
    @hypothesis(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        answers=st.lists(st.integers(0, 2**32), max_size=60),
        batch_size=st.integers(1, 12),
        workers=st.integers(1, 4),
    )
    def test_each_record_has_one(self, send_all, scripted, settings, answers, batch_size, workers):
        """Whatever a sink answers, each record is delivered once or dies once, and the sums hold."""
        for path in settings().journal_dir.glob("*/dead-letters/*"):
            path.unlink()
        sink = scripted(*[_answer(number) for number in answers])
        stats = send_all(sink, 30, options={"batch_size": batch_size, "async_workers": workers})
        buried = [letter["event"]["attributes"]["number"] for letter in dead_letters(settings)]
        assert sorted(sink.numbers + buried) == list(range(30))
        assert (stats.events_sent, stats.dead, stats.dropped) == (len(sink.numbers), len(buried), 0)


class TestReading:
    def test_not_now(self, deliver, spec, scripted, make_event, eventually, assert_balanced, monkeypatch):
        """A journal that cannot be read for a moment is read later, from where it was, and nothing is left out."""
        first = deliver(spec(scripted(*[ConnectionError()] * 10_000)))
        for number in range(400):
            first.append(make_event(number, pad="x" * 2000))
        assert not first.shutdown(0.1)
        calls, read = [], os.pread

        def pread(*arguments):
            calls.append(arguments)
            if len(calls) in {1, 3, 4}:
                raise OSError(errno.ENOMEM, "not now")
            return read(*arguments)

        monkeypatch.setattr(os, "pread", pread)
        sink = scripted()
        second = deliver(spec(sink))
        second.start()
        assert eventually(lambda: len(sink.numbers) == 400)
        assert sink.numbers == list(range(400))
        assert len(calls) > 4
        assert eventually(lambda: second.stats()["sink"].pending_events == 0)
        assert_balanced(second.stats()["sink"])


class TestLowWater:
    def test_acknowledgement(self, deliver, spec, make_event, eventually, assert_balanced):
        """With several workers the cursor waits for the oldest batch: a restart loses nothing and repeats by id."""
        arrived: list[list[str]] = [[], []]
        let_go = asyncio.Event()

        class FirstHangs:
            Options = object

            def __init__(self, seen, *, hangs):
                self.seen, self.hangs = seen, hangs

            async def open(self):
                pass

            async def send(self, batch):
                if self.hangs and batch.records[0].event.get("number") == 0:
                    await let_go.wait()
                self.seen.extend(record.event.id for record in batch.records)
                return Receipt.delivered()

            async def close(self):
                pass

        events = [make_event(number) for number in range(40)]
        first = deliver(spec(FirstHangs(arrived[0], hangs=True), async_workers=3, batch_size=10))
        for event in events:
            first.append(event)
        assert eventually(lambda: len(arrived[0]) == 30)
        assert not first.shutdown(0.05)
        stats = first.stats()["sink"]
        assert (stats.events_sent, stats.pending_events) == (30, 10)
        assert_balanced(stats)
        second = deliver(spec(FirstHangs(arrived[1], hangs=False), async_workers=3, batch_size=10))
        second.start()
        assert eventually(lambda: set(arrived[0]) | set(arrived[1]) == {event.id for event in events})
        assert eventually(lambda: second.stats()["sink"].pending_events == 0)
        assert_balanced(second.stats()["sink"])

    def test_order_with_one_worker(self, send_all, scripted):
        """With one worker the order holds through failures, retries and rejections."""
        script = [ConnectionError(), Receipt(Retry()), Receipt(Rejected("no")), ConnectionError()] * 5
        sink = scripted(*script)
        stats = send_all(sink, 300, options={"batch_size": 7})
        assert sink.numbers == sorted(sink.numbers)
        assert stats.events_sent + stats.dead == 300


def _refuse(poison: set[int]):
    def answer(batch):
        found = any(record.event.get("number") in poison for record in batch.records)
        return Receipt(Rejected("cannot parse") if found else DELIVERED)

    return answer


def _answer(seed: int):
    """Give what a sink does with its next batch: any outcome for all, one for each, an error, or nonsense."""

    def answer(batch):
        chance = random.Random(seed)
        outcomes = (DELIVERED, Retry(), Retry(after=0.001), Rejected("no"))
        whole = [Receipt(outcome) for outcome in outcomes]
        each = Receipt([chance.choice(outcomes) for _ in batch.records])
        errors = [ConnectionError(), NotDelivered("503"), Unauthorized("401"), asyncio.CancelledError()]
        chosen = chance.choice([*whole, *[each] * 4, Receipt([]), *errors])
        if isinstance(chosen, BaseException):
            raise chosen
        return chosen

    return answer


class TestSeveralAtOnce:
    def test_a_sink_that_asks_for_it(self, deliver, spec, make_event, eventually, assert_balanced):
        """A sink that wants several batches at once gets them before the first has its receipt."""
        let_go = asyncio.Event()
        under_way = []

        class Pipelined:
            Options = object
            batches_in_flight = 3

            async def open(self):
                pass

            async def send(self, batch):
                under_way.append(batch)
                await let_go.wait()
                return Receipt.delivered()

            async def close(self):
                let_go.set()

        delivery = deliver(spec(Pipelined(), batch_size=10))
        for number in range(50):
            delivery.append(make_event(number))
        eventually(lambda: len(under_way) == 3)
        stats = delivery.stats()["sink"]
        assert (stats.batches_in_flight, stats.async_workers, stats.events_sent) == (3, 3, 0)
        delivery.shutdown(0.2)
        assert_balanced(delivery.stats()["sink"])
