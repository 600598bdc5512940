"""A delivery whose clock runs fast, a server, and a proxy between them."""

from pathlib import Path

import pytest

from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.formats import find
from tests.faults.books import Books, balance
from tests.faults.fast_clock import FastClock
from tests.faults.receiver import Receiver
from tests.faults.tcp_proxy import TcpProxy


@pytest.fixture
def clock():
    """Give a clock that is 1500 times as fast as the machine's."""
    return FastClock()


@pytest.fixture
def receiver(clock):
    """Give a server that collects records."""
    with Receiver(clock.monotonic) as running:
        yield running


@pytest.fixture
def proxy(receiver):
    """Give a proxy before it."""
    with TcpProxy(receiver.port) as running:
        yield running


@pytest.fixture
def deliver(tmp_path: Path, clock: FastClock):
    """
    Give a function that makes a delivery of sinks by name, whose waits are as fast as the clock; its books balance.
    """
    made: list[Delivery] = []
    encode = find("otel").encode

    def make(options=None, **sinks) -> Books:
        each = {"batch_size": 20, "encoder": encode, **(options or {})}
        specs = [SinkSpec(name=name, make=lambda sink=sink: sink, **each) for name, sink in sinks.items()]
        settings = DeliverySettings(journal_dir=tmp_path / "journal", flush_interval_ms=20, clock=clock)
        made.append(Delivery(sinks=specs, settings=settings))
        return Books(made[-1])

    yield make
    for delivery in made:
        delivery.shutdown(0.2)
        balance(delivery.stats())
