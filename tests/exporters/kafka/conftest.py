"""Kafka sinks on either client, batches for them, and what arrived."""

import contextlib
import itertools
import time

import pytest

from otel_llm import plugins
from otel_llm.delivery.sink import Batch, Record
from otel_llm.formats import otel
from otel_llm.settings import SinkSettings
from otel_llm.telemetry.event import Event, new_event_id
from tests.servers._kafka_reader import read

CLIENTS = ("aiokafka", "confluent")
_numbers = itertools.count()


def make_event(number=0, text="", trace_id="a" * 32, **attributes):
    now = time.time_ns()
    own = {"number": number, "text": text, **{name.replace("__", "."): value for name, value in attributes.items()}}
    return Event(new_event_id(), "call", now, now, 9, "INFO", own, trace_id, "b" * 16, 1)


@pytest.fixture
def event():
    """
    Give a function that makes an event; `a__b=1` is the attribute `a.b`.
    """
    return make_event


@pytest.fixture
def batch():
    """
    Give a function that makes a batch of so many events, or of those given.
    """

    def make(events):
        made = [make_event(number) for number in range(events)] if isinstance(events, int) else events
        return Batch([Record(each, otel.encode(each)) for each in made])

    return make


@pytest.fixture(params=CLIENTS)
def client(request):
    """
    Give the name of a client library; each test runs with both.
    """
    return request.param


@pytest.fixture
def opened(client):
    """
    Give a function that makes and opens a sink for a while.
    """

    @contextlib.asynccontextmanager
    async def opening(endpoint, topic, **options):
        settings = {"brokers": endpoint, "topic": topic, "client": client, "timeout_ms": 10_000, **options}
        sink = plugins.make_sink(SinkSettings("kafka", "kafka", settings))
        try:
            await sink.open()
            yield sink
        finally:
            await sink.close()

    return opening


@pytest.fixture
def outcomes():
    """
    Give a function that says in one word what became of each record.
    """

    def name(receipt, batch):
        return [type(outcome).__name__ for outcome in receipt.of(batch)]

    return name


@pytest.fixture(scope="session")
def broker(servers):
    """
    Give a real broker that all tests share.
    """
    return servers.get("kafka")


@pytest.fixture
def topic(broker):
    """
    Give a new topic with one partition.
    """
    name = f"calls-{next(_numbers)}-{time.time_ns()}"
    broker.create(name)
    return name


@pytest.fixture
def cluster(servers):
    """
    Give a mock cluster with the topic `calls`, of one partition.
    """
    mock = servers.start("kafka-mock")
    mock.create("calls")
    yield mock
    mock.stop()


@pytest.fixture
def arrived():
    """
    Give a function that reads the event ids in a topic, by another client than ours, in order.
    """

    def ids(endpoint, topic, **settings):
        return [message.headers["event_id"].decode() for message in read(endpoint, topic, **settings)]

    return ids


@pytest.fixture
def ids():
    """
    Give a function that names the events of a batch.
    """
    return lambda batch: [record.event.id for record in batch.records]
