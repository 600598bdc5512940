"""Events, sinks that do as they are told, and deliveries that are shut down."""

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec
import pytest

from otel_llm.delivery import breaker
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import Batch, BlockingSink, Receipt
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.telemetry.event import Event, new_event_id


def _event(number: int = 0, **attributes):
    now = time.time_ns()
    given = {name.replace("__", "."): value for name, value in attributes.items()}
    return Event(new_event_id(), "test", now, now, 9, "INFO", {"number": number, **given})


@pytest.fixture
def make_event():
    """
    Give a function that makes an event with a number; `a__b=1` is the attribute `a.b`.
    """
    return _event


@pytest.fixture
def eventually():
    """
    Give a function that waits until a condition holds, ten seconds at most.
    """

    def wait(condition: Callable[[], object]) -> bool:
        deadline = time.monotonic() + 10
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    return wait


@pytest.fixture
def assert_balanced():
    """
    Give a function that checks the sum which always holds.
    """

    def check(stats) -> None:
        assert stats.pending_events >= 0
        assert stats.events_in_flight >= 0
        assert stats.unaccounted == 0, stats

    return check


class ScriptedSink:
    """
    Answers each send with the next line of its script (receipt, exception, function of the batch), then takes all.
    """

    Options = object

    def __init__(self, *script) -> None:
        self.script = deque(script)
        self.numbers: list[int] = []
        self.ids: list[str] = []
        self.sizes: list[int] = []
        self.opened = 0
        self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def send(self, batch: Batch) -> Receipt:
        self.sizes.append(len(batch.records))
        answer = self.script.popleft() if self.script else Receipt.delivered()
        if callable(answer):
            answer = answer(batch)
        if isinstance(answer, Exception):
            raise answer
        outcomes = answer.of(batch)
        for record, outcome in zip(batch.records, outcomes, strict=True):
            if type(outcome).__name__ == "Delivered":
                self.numbers.append(record.event.get("number"))
                self.ids.append(record.event.id)
        return answer

    async def close(self) -> None:
        self.closed += 1


class StuckSink(BlockingSink):
    """
    Hangs in `send` until it is let go.
    """

    Options = object

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def open(self) -> None:
        pass

    def send(self, batch: Batch) -> Receipt:  # noqa: ARG002
        self.entered.set()
        self.let_go.wait(30)
        return Receipt.delivered()

    def close(self) -> None:
        pass


@pytest.fixture
def scripted():
    """
    Give the class of sinks that follow a script.
    """
    return ScriptedSink


@pytest.fixture
def stuck():
    """
    Give a sink that hangs until the test is over.
    """
    sink = StuckSink()
    yield sink
    sink.let_go.set()


@pytest.fixture
def settings(tmp_path):
    """
    Give a function that makes settings with a journal of the test's own.
    """

    def make(**changes) -> DeliverySettings:
        return DeliverySettings(**{"journal_dir": tmp_path / "journal", "flush_interval_ms": 20, **changes})

    return make


@pytest.fixture
def spec():
    """
    Give a function that makes the specification of a sink.
    """

    def make(sink, name: str = "sink", **options) -> SinkSpec:
        return SinkSpec(name=name, make=lambda: sink, **{"encoder": _encode, **options})

    return make


@pytest.fixture
def deliver(settings, monkeypatch, assert_balanced):
    """
    Give a function that makes a delivery with short waits; it ends with the test, and its books balance then.
    """
    monkeypatch.setattr(breaker, "BASE", 0.002)
    monkeypatch.setattr(breaker, "CAP", 0.02)
    made: list[Delivery] = []

    def make(*specs: SinkSpec, reprice=None, **changes) -> Delivery:
        delivery = Delivery(sinks=specs, settings=settings(**changes), reprice=reprice)
        made.append(delivery)
        return delivery

    yield make
    for delivery in made:
        delivery.shutdown(0.2)
        for stats in delivery.stats().values():
            assert_balanced(stats)


def _encode(event: Event) -> bytes:
    return msgspec.json.encode({"id": event.id, "attributes": event.attributes})
