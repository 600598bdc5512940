"""Kafka sinks on either client, batches for them, and what arrived."""

import contextlib
import http.server
import itertools
import threading
import time
from urllib.parse import parse_qs

import pytest

from otel_llm import plugins
from otel_llm.delivery import setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import Batch, Record
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.formats import otel
from otel_llm.settings import SinkCommon, SinkSettings
from otel_llm.telemetry.event import Event, new_event_id
from tests.servers import kafka
from tests.servers._kafka_reader import read

CLIENTS = ("aiokafka", "confluent")
_numbers = itertools.count()


@contextlib.contextmanager
def serve_logins(status, answer):
    """
    Give the URL of a server that answers every request so, and the requests it had.
    """
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.headers["Authorization"], parse_qs(body)))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token", seen
        finally:
            server.shutdown()
            thread.join()


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
    kafka.create(broker.endpoint, name)
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

    def ids(endpoint, topic):
        return [message.headers["event_id"].decode() for message in read(endpoint, topic)]

    return ids


@pytest.fixture
def deliver(client, tmp_path):
    """
    Give a function that opens a delivery to a topic; it ends with the test.
    """
    with contextlib.ExitStack() as stack:

        def make(endpoint, topic, *, journal_bytes=2**29, batch_size=100, **options):
            own = {"brokers": endpoint, "topic": topic, "client": client, **options}
            shared = SinkCommon(batch_size=batch_size, batch_bytes=2**24, flush_interval_ms=50)
            spec = setup.sink_spec(SinkSettings("kafka", "kafka", own, shared))
            settings = DeliverySettings(journal_dir=tmp_path / "journal", journal_max_bytes=journal_bytes)
            delivery = Delivery(sinks=[spec], settings=settings)
            stack.callback(delivery.shutdown, 5)
            return delivery

        yield make


@pytest.fixture
def ids():
    """
    Give a function that names the events of a batch.
    """
    return lambda batch: [record.event.id for record in batch.records]


@pytest.fixture
def login_server():
    """
    Give a function that starts a server for tokens, for a while.
    """
    return serve_logins
