"""A server that is killed and comes back, by the whole road from journal to table."""

import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from otel_llm.delivery import breaker, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.settings import SinkCommon, SinkSettings
from otel_llm.telemetry.event import Event, new_event_id

pytestmark = [pytest.mark.server, pytest.mark.slow]

EVENTS = int(os.environ.get("TEST_OTEL_LLM_POSTGRES_EVENTS", "100000"))
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", 'Übermodell "x"; --')

PROCESS = """
import sys, time
import otel_llm
from otel_llm.delivery import setup
from otel_llm.settings import load
from otel_llm.telemetry.event import Event, new_event_id
dsn, journal, count = sys.argv[1:]
loaded = load({"sinks": {"postgres": {"dsn": dsn, "partition": "day"}}, "journal_dir": journal, "batch_size": 50})
delivery = setup.delivery(loaded)
for number in range(int(count)):
    now = time.time_ns()
    delivery.append(Event(new_event_id(), "call", now, now, 9, "INFO", {"otel_llm.status": "success"}))
assert delivery.flush(90), delivery.stats()
delivery.shutdown(5)
"""


@pytest.fixture
def server(servers):
    """
    Give a server that may be killed.
    """
    running = servers.start("postgres")
    yield running
    running.stop()


@pytest.fixture
def toxiproxy(servers):
    """
    Give a proxy whose lines can be spoilt.
    """
    running = servers.start("toxiproxy")
    yield running
    running.stop()


@pytest.fixture
def deliver(server, tmp_path, monkeypatch):
    """
    Give a function that opens a delivery to the server, which tries again soon.
    """
    monkeypatch.setattr(breaker, "CAP", 0.5)
    opened = []

    def make(**options):
        common = SinkCommon(batch_size=500, flush_interval_ms=50, async_workers=2)
        spec = setup.sink_spec(SinkSettings("postgres", "postgres", {"dsn": server.dsn, **options}, common))
        opened.append(Delivery(sinks=[spec], settings=DeliverySettings(journal_dir=tmp_path / "journal")))
        return opened[-1]

    yield make
    for delivery in opened:
        delivery.shutdown(5)


def call(number):
    """
    Give one of the calls of four models in three days, ten to a trace.
    """
    at = int((datetime.now(UTC) - timedelta(days=number % 3)).timestamp() * 1e6) * 1000
    attributes = {
        "gen_ai.request.model": MODELS[number % 4],
        "gen_ai.usage.input_tokens": number,
        "gen_ai.usage.output_tokens": number % 7,
        "gen_ai.usage.cost": number / 1e6,
        "otel_llm.status": "success",
    }
    return Event(new_event_id(), "call", at, at, 9, "INFO", attributes, f"{number // 10:032x}", f"{number:016x}")


def stats(delivery):
    return delivery.stats()["postgres"]


def wait_for(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.mark.parametrize("options", [{}, {"partition": "day"}], ids=["plain", "partitioned"])
def test_restarts(server, deliver, options):
    """Every call is there once after restarts and power cuts, and can be found by its trace, model and day."""
    delivery = deliver(**options)
    made = [call(number) for number in range(EVENTS)]
    endings = [server.shut_down, server.kill, server.kill, server.shut_down]
    part = EVENTS // (len(endings) + 1)
    for round_, end in enumerate(endings):
        before = stats(delivery).events_sent
        for event in made[round_ * part : (round_ + 1) * part]:
            delivery.append(event)
        wait_for(lambda before=before: stats(delivery).events_sent > before + part // 4)
        end()
        server.restart()
    for event in made[len(endings) * part :]:
        delivery.append(event)
    assert delivery.flush(180)
    assert (stats(delivery).dead, stats(delivery).unaccounted) == (0, 0)
    assert server.rows("SELECT count(*), count(DISTINCT event_id) FROM llm_calls") == [(EVENTS, EVENTS)]
    check_queries(server, made)


def check_queries(server, made):
    """
    Compare what an independent client finds with what the calls say.
    """
    wanted = made[EVENTS // 2].trace_id
    found = server.rows("SELECT event_id FROM llm_calls WHERE trace_id = %s ORDER BY input_tokens", wanted)
    assert [event_id for (event_id,) in found] == [event.id for event in made if event.trace_id == wanted]
    found = server.rows("SELECT request_model, count(*), sum(input_tokens)::bigint FROM llm_calls GROUP BY 1")
    assert {model: (count, tokens) for model, count, tokens in found} == {
        model: (len(range(offset, EVENTS, 4)), sum(range(offset, EVENTS, 4))) for offset, model in enumerate(MODELS)
    }
    found = server.rows("SELECT (ended_at AT TIME ZONE 'UTC')::date, count(*) FROM llm_calls GROUP BY 1")
    assert dict(found) == Counter(datetime.fromtimestamp(event.timestamp_ns / 1e9, UTC).date() for event in made)
    ((cost,),) = server.rows("SELECT sum(cost_usd) FROM llm_calls")
    assert int(cost * 10**6) == sum(range(EVENTS))


def test_processes(server, tmp_path):
    """Processes that begin at the same time, on an empty database, each bring all of their calls."""
    command = [sys.executable, "-c", PROCESS, server.dsn]
    running = [subprocess.Popen([*command, str(tmp_path / str(number)), "2000"]) for number in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert server.rows("SELECT count(*), count(DISTINCT event_id) FROM llm_calls") == [(6000, 6000)]


def test_clash(server, deliver):
    """Calls that clash with a key of the operator's go to the dead letters, those alone; all others arrive."""
    delivery = deliver()
    delivery.append(call(0))
    assert delivery.flush(60)
    server.rows("CREATE UNIQUE INDEX one_each ON llm_calls (input_tokens)")
    for number in (*range(300), 7):
        delivery.append(call(number))
    assert delivery.flush(60)
    assert (stats(delivery).dead, stats(delivery).unaccounted) == (2, 0)
    assert server.rows("SELECT input_tokens::int FROM llm_calls ORDER BY 1") == [(number,) for number in range(300)]


def test_paused(server, deliver):
    """A server that stands still for a while gets each call once."""
    delivery = deliver()
    made = [call(number) for number in range(3000)]
    for event in made[:1500]:
        delivery.append(event)
    wait_for(lambda: stats(delivery).events_sent > 0)
    server.pause()
    for event in made[1500:]:
        delivery.append(event)
    server.resume()
    assert delivery.flush(60)
    assert server.rows("SELECT count(*), count(DISTINCT event_id) FROM llm_calls") == [(3000, 3000)]


def test_bad_line(server, toxiproxy, deliver):
    """A line that is far, narrow, and breaks off in mid-batch and before the answer brings each call once."""
    line = toxiproxy.line(server.endpoint)
    delivery = deliver(dsn=server.dsn.replace(server.endpoint, line.endpoint))
    made = [call(number) for number in range(3000)]
    line.spoil("limit_data", bytes=100_000)
    for event in made[:1500]:
        delivery.append(event)
    wait_for(lambda: stats(delivery).send_errors >= 2)
    toxiproxy.clean()
    line.spoil("bandwidth", rate=2000)
    line.spoil("latency", "downstream", latency=400, jitter=100)
    for event in made[1500:]:
        delivery.append(event)
    wait_for(lambda: server.rows("SELECT count(*) FROM llm_calls")[0][0] > stats(delivery).events_sent)
    line.cut()
    assert not delivery.flush(0.2)
    toxiproxy.clean()
    assert delivery.flush(60)
    assert (stats(delivery).dead, stats(delivery).unaccounted) == (0, 0)
    assert server.rows("SELECT count(*), count(DISTINCT event_id) FROM llm_calls") == [(3000, 3000)]
