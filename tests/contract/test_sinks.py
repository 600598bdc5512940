"""
One suite over every sink of ours: whatever happens on the way, each record is there in the end, by another's count.

A sink that is added is found by its entry point; what the suite needs to know of it is in `sink_harnesses/NAME.py`.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sink_harness import harnesses, sinks

from otel_llm import plugins
from otel_llm.delivery import breaker, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import Batch, BlockingSink, Record
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.entry_points import entry_points
from otel_llm.errors import MissingExtra
from otel_llm.settings import SinkCommon, SinkSettings
from otel_llm.telemetry.event import Event, new_event_id

APPLICATION = """
import json, sys
import httpx2, otel_llm
otel_llm.configure(**json.loads(sys.argv[1]))
chat = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
httpx2.post(sys.argv[2] + "/chat/completions", json=chat).raise_for_status()
"""

HARNESSES = harnesses()
ALL = [pytest.param(kind, id=name, marks=kind.marks) for name, kind in HARNESSES.items()]


def having(feature):
    """
    Give the parameters of the sinks that have something.
    """
    return [param for param in ALL if getattr(param.values[0], feature)]


def each(feature):
    """
    Give the parameters of each sink with each of its variants, or misuses.
    """
    return [
        pytest.param(kind, case, id=f"{name}-{_words(case)}", marks=kind.marks)
        for name, kind in HARNESSES.items()
        for case in getattr(kind, feature)
    ]


def _words(case):
    options = case if isinstance(case, dict) else case[0]
    if isinstance(options, str):
        return options
    return "-".join(f"{name}={value}" for name, value in options.items()) or "plain"


def event(number, text=""):
    now = time.time_ns()
    attributes = {"gen_ai.request.model": "gpt-4o", "otel_llm.status": "success", "number": number, "text": text}
    return Event(new_event_id(), "call", now, now, 9, "INFO", attributes, "a" * 32, "b" * 16)


def events(count):
    return [event(number) for number in range(count)]


def ids(made):
    return [one.id for one in made]


def batch_of(harness, made):
    """
    Give a batch of events in the sink's default format.
    """
    spec = setup.sink_spec(SinkSettings(harness.sink, harness.sink))
    return Batch([Record(one, spec.encoder(one), spec.content_type) for one in made])


@contextlib.asynccontextmanager
async def opened(harness):
    """
    Give a sink that is open, a blocking one in a thread of its own.
    """
    made = plugins.make_sink(SinkSettings(harness.sink, harness.sink, harness.options))
    with ThreadPoolExecutor(1) as thread:
        sink = InThread(made, thread) if BlockingSink in type(made).__mro__ else made
        await sink.open()
        try:
            yield sink
        finally:
            await sink.close()


class InThread:
    """
    A blocking sink, awaited.
    """

    def __init__(self, sink, thread):
        self._sink = sink
        self._thread = thread

    async def open(self):
        await self._call(self._sink.open)

    async def send(self, batch):
        return await self._call(self._sink.send, batch)

    async def close(self):
        await self._call(self._sink.close)

    async def _call(self, work, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def outcomes(receipt, made):
    """
    Give the kinds of what became of a batch's records.
    """
    each_one = receipt.of(Batch(made))
    return {type(outcome).__name__ for outcome in each_one}


@pytest.fixture
def harness(request, tmp_path):
    """
    Give the harness of the sink that the test is about.
    """
    made = request.param(tmp_path, request)
    yield made
    made.close()


@pytest.fixture
def open_delivery(tmp_path, monkeypatch):
    """
    Give a function that opens a delivery to a harness's sink, which tries again after milliseconds.
    """
    monkeypatch.setattr(breaker, "BASE", 0.01)
    monkeypatch.setattr(breaker, "CAP", 0.05)
    with contextlib.ExitStack() as stack:

        def make(harness, *, batch_size=100, options=None, **common):
            own = {**harness.options, **(options or {})}
            shared = SinkCommon(batch_size=batch_size, flush_interval_ms=50, batch_bytes=2**26, **common)
            spec = setup.sink_spec(SinkSettings(harness.sink, harness.sink, own, shared))
            delivery = Delivery(sinks=[spec], settings=DeliverySettings(journal_dir=tmp_path / "journal"))
            stack.callback(delivery.shutdown, 5)
            return delivery

        yield make


def eventually(value, accept, timeout):
    """
    Call `value` until `accept` takes what it gives.
    """
    deadline = time.monotonic() + timeout
    while not accept(found := value()):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def deliver(delivery, made, timeout=60):
    """
    Append events and wait until they are delivered; gives the sink's stats.
    """
    for one in made:
        delivery.append(one)
    assert delivery.flush(timeout)
    (stats,) = delivery.stats().values()
    return stats


def test_every_sink_has_a_harness():
    """No sink of ours is left out of this suite."""
    assert sinks() == sorted(HARNESSES)


@pytest.mark.parametrize("harness", ALL, indirect=True)
@pytest.mark.parametrize("count", [1, 100, 501, 5000])
async def test_batches(harness, count):
    """A batch of any size arrives once and in order."""
    made = events(count)
    async with opened(harness) as sink:
        receipt = await sink.send(batch_of(harness, made))
    assert outcomes(receipt, made) == {"Delivered"}
    assert harness.arrived() == ids(made)


@pytest.mark.parametrize(("harness", "options"), each("variants"), indirect=["harness"])
def test_variants(harness, open_delivery, options):
    """Every way of sending brings every record."""
    made = events(100)
    deliver(open_delivery(harness, options=options), made)
    assert harness.arrived() == ids(made)


@pytest.mark.parametrize("harness", ALL, indirect=True)
def test_order(harness, open_delivery):
    """One worker brings batch after batch, in order."""
    made = events(1000)
    stats = deliver(open_delivery(harness, batch_size=50), made)
    assert harness.arrived() == ids(made)
    assert (stats.events_sent, stats.batches_sent) >= (1000, 20)


@pytest.mark.parametrize("harness", ALL, indirect=True)
def test_workers(harness, open_delivery):
    """Several workers bring every record once."""
    made = events(600)
    deliver(open_delivery(harness, batch_size=30, async_workers=4), made)
    assert sorted(harness.arrived()) == sorted(ids(made))


@pytest.mark.parametrize("harness", ALL, indirect=True)
async def test_cancellation(harness):
    """A send that is cancelled half-way leaves a sink that sends the batch again, and closes."""
    made = events(100)
    batch = batch_of(harness, made)
    async with opened(harness) as sink:
        with harness.holding() as wait:
            sending = asyncio.create_task(sink.send(batch))
            await asyncio.to_thread(wait)
            await asyncio.sleep(0)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        receipt = await sink.send(batch)
    assert outcomes(receipt, made) == {"Delivered"}
    assert set(harness.arrived()) == set(ids(made))


@pytest.mark.parametrize("harness", having("served"), indirect=True)
def test_restart(harness, open_delivery):
    """A server that goes away with a batch in its hands gets everything when it is back, whatever comes twice."""
    made = events(300)
    delivery = open_delivery(harness, batch_size=100)
    with harness.holding() as wait:
        for one in made:
            delivery.append(one)
        wait()
        harness.stop()
    for one in (later := events(100)):
        delivery.append(one)
    harness.start()
    assert delivery.flush(60)
    assert set(harness.arrived()) == set(ids([*made, *later]))


@pytest.mark.parametrize("harness", having("guarded"), indirect=True)
def test_refused(harness, open_delivery):
    """Records wait while the server refuses our credentials; nothing is lost, and the report holds no secret."""
    harness.refuse()
    made = events(50)
    delivery = open_delivery(harness)
    for one in made:
        delivery.append(one)
    eventually(delivery.stats, lambda stats: stats[harness.sink].state == "broken", timeout=20)
    assert harness.arrived() == []
    harness.accept()
    assert delivery.flush(60)
    assert harness.arrived() == ids(made)


@pytest.mark.parametrize(("harness", "trouble"), each("troubles"), indirect=["harness"])
def test_trouble(harness, open_delivery, trouble):
    """Where a destination is not as it should be, records wait for it, and the report says what is wrong."""
    kind, words = trouble
    delivery = open_delivery(harness, options=harness.troubled(kind))
    for one in events(10):
        delivery.append(one)
    eventually(delivery.stats, lambda stats: stats[harness.sink].last_error, timeout=20)
    stats = delivery.stats()[harness.sink]
    delivery.shutdown(0)
    assert words in stats.last_error
    assert (stats.events_sent, stats.dead, stats.pending_events + stats.events_in_flight) == (0, 0, 10)
    assert harness.arrived() == []


@pytest.mark.parametrize("harness", having("largest"), indirect=True)
def test_over_size(harness, open_delivery, tmp_path):
    """One record that the server can never take goes to the dead letters, the good ones around it arrive."""
    made = [event(number, "x" * (harness.largest + 1) if number == 41 else "") for number in range(100)]
    stats = deliver(open_delivery(harness), made)
    giant = made.pop(41)
    assert sorted(harness.arrived()) == sorted(ids(made))
    assert (stats.events_sent, stats.dead, stats.pending_events) == (99, 1, 0)
    (letters,) = tmp_path.rglob("*dead*/*.jsonl")
    assert giant.id in letters.read_text()


@pytest.mark.parametrize("harness", ALL, indirect=True)
def test_end_of_the_process(harness, server, tmp_path):
    """An application that ends after its call leaves the record with the sink."""
    settings = {"sinks": {harness.sink: harness.options}, "journal_dir": str(tmp_path / "journal")}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ended = subprocess.run(
        [sys.executable, "-c", APPLICATION, json.dumps(settings), server.openai_url],
        env={**environ, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    sys.stdout.write(ended.stdout)  # what the sink `stdout` has written is looked for there
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(harness.arrived()) == 1


@pytest.mark.parametrize("sink", sinks())
def test_exporter(sink):
    """OpenTelemetry's own settings can name each sink: `OTEL_LOGS_EXPORTER=llm_NAME`."""
    assert f"llm_{sink}" in entry_points("opentelemetry_logs_exporter")


@pytest.mark.parametrize("harness", having("client"), indirect=True)
def test_missing_client(harness, monkeypatch):
    """Where its client is missing, the sink says what to install."""
    entry = entry_points(plugins.SINKS)[harness.sink]
    monkeypatch.delitem(sys.modules, entry.module, raising=False)
    monkeypatch.setitem(sys.modules, harness.client, None)
    with pytest.raises(MissingExtra) as caught:
        plugins.sink_class(harness.sink)
    assert str(caught.value) == f"the {harness.sink} sink needs its client: pip install 'otel-llm[{harness.sink}]'"


@pytest.mark.parametrize("harness", ALL, indirect=True)
def test_unknown_option(harness):
    """An option that the sink does not have is reported with the one that was meant."""
    name = next(iter(plugins.sink_class(harness.sink).Options.__dataclass_fields__))
    settings = SinkSettings(harness.sink, harness.sink, {**harness.options, f"{name}x": "1"})
    (problem,) = plugins.check_sink(settings)
    assert (problem.found, problem.nearest) == ("an unknown option", name)


@pytest.mark.parametrize(("harness", "misuse"), each("misuses"), indirect=["harness"])
def test_misuse(harness, misuse):
    """What is wrong with an option is said in one sentence."""
    options, words = misuse
    (problem,) = plugins.check_sink(SinkSettings(harness.sink, harness.sink, {**harness.options, **options}))
    assert words in str(problem)
