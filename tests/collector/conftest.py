"""Collectors for one test, and programs and deliveries that send to them."""

import contextlib
import math
import time
from pathlib import Path

import pytest
from launch import Application

from otel_llm.delivery import setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.settings import SinkCommon, SinkSettings
from otel_llm.telemetry.event import EVENT_NAME, Event, Resource, Scope, new_event_id

WAIT = 30.0
CONFIGURATIONS = Path(__file__).parents[2] / "collector-config"

VALUES = {
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.cost": 8.55e-06,
    "gen_ai.request.stream": True,
    "gen_ai.response.finish_reasons": ["stop", "length"],
    "otel_llm.label.tenant": "Zürich ☃ \U0001f600",
    "empty": "",
    "nothing": None,
    "false": False,
    "zero": 0,
    "negative": -1,
    "wide": 2**63 - 1,
    "infinite": math.inf,
    "bytes": b"\x00\xff",
    "list": [1, "two", 3.5, [True], {}],
    "map": {"role": "user", "parts": [{"type": "text", "content": "a\nb\0c"}], "empty": {}, "none": None},
}
"""One of each kind that a record can hold."""


@pytest.fixture
def started(servers):
    """
    Give a function that starts a Collector, as `tests.servers.collector.start` does; it ends with the test.
    """
    with contextlib.ExitStack() as stack:

        def start(config=None, **variables):
            running = servers.start("collector", config=config, **variables)
            stack.callback(running.stop)
            return running

        yield start


@pytest.fixture
def configured(started):
    """
    Give a function that starts a Collector with a file of `collector-config/`, and with the Collector behind it.
    """

    def start(name, behind, **variables):
        return started(CONFIGURATIONS / f"{name}.yaml", BACKEND_ENDPOINT=f"http://{behind.endpoint}", **variables)

    return start


@pytest.fixture
def keeper(started):
    """
    Give a Collector that keeps what it gets.
    """
    return started()


@pytest.fixture
def application(tmp_path, server):
    """
    Give what runs programs, with a provider to call.
    """
    running = Application(tmp_path, server)
    yield running
    running.close()


@pytest.fixture
def sending():
    """
    Give a function that gives the variables with which OpenTelemetry sends all that it has to a Collector.
    """

    def variables(collector, protocol="http/protobuf"):
        address = collector.at("grpc") if protocol == "grpc" else collector.endpoint
        return {
            **{f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("TRACES", "METRICS", "LOGS")},
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}",
            "OTEL_SERVICE_NAME": "shop",
        }

    return variables


@pytest.fixture
def run(application, sending):
    """
    Give a function that runs a program to its end, which sends all that it has to a Collector.
    """

    def run(source, collector, *arguments, protocol="http/protobuf", **settings):
        done = application.run(source, *arguments, **sending(collector, protocol) | settings)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def events():
    """
    Give a function that makes events: the first has a value of every kind.
    """
    return lambda count: [_event(number, VALUES if number == 0 else {}) for number in range(count)]


@pytest.fixture
def deliver(tmp_path):
    """
    Give a function that hands events to a sink and waits until they are delivered.
    """

    def send(sent, kind, *, format, **options):  # noqa: A002 - the option's name
        spec = setup.sink_spec(SinkSettings(kind, kind, options, SinkCommon(format=format)))
        settings = DeliverySettings(journal_dir=tmp_path / "journal", flush_interval_ms=50)
        delivery = Delivery(sinks=[spec], settings=settings)
        try:
            for event in sent:
                delivery.append(event)
            assert delivery.flush(WAIT), delivery.stats()
        finally:
            delivery.shutdown(5)

    return send


def _event(number, values):
    now = time.time_ns()
    made = new_event_id()
    return Event(
        made,
        EVENT_NAME,
        now,
        now + 1,
        17 if number % 2 else 9,
        "ERROR" if number % 2 else "INFO",
        {**values, "number": number, "otel_llm.event.id": made},
        f"{number + 1:032x}",
        f"{number + 1:016x}",
        number % 2,
        None if number else {"answer": ["yes", 1]},
        Resource({"service.name": "shop", "host.cpus": 2}, "https://opentelemetry.io/schemas/1.40.0"),
        Scope("otel_llm", "0.1.0"),
    )
