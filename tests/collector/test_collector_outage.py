"""`agent.yaml` while something is away in mid-run: nothing is lost from end to end."""

import os
import time

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]

OUTAGE = float(os.environ.get("TEST_OTEL_LLM_OUTAGE_SECONDS", "5"))
WAIT = 60 + OUTAGE
"""Backing off, a sender may look again only as long after the outage as it took."""

PATIENCE = {"OTEL_EXPORTER_OTLP_TIMEOUT": "40"}
"""Lets OpenTelemetry's exporters make all of their six attempts, as `collector-config/README.md` advises."""
RIDDEN_OUT = 20
"""Seconds of outage that they outlast: their last attempt comes 25 to 37 s after the first."""

OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200"}
SCOPE = "otel_llm"

CALLS = """
import sys, threading
import openai
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), told.set()), daemon=True).start()
client = openai.OpenAI()
made = 0
while not told.is_set():
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    made += 1
    told.wait(0.05)
print(made)
"""
"""Makes a call every now and then until its input ends, then says how many."""


def made(program):
    """
    Let the program come to its end; gives how many calls it made.
    """
    told, said = program.communicate(timeout=WAIT)
    assert program.returncode == 0, said
    return int(told)


def distinct(read, name, count, timeout=WAIT):
    """
    Give how many calls the backend knows by what `read` gives, as soon as there are so many; it may know one twice.
    """
    deadline = time.monotonic() + timeout
    while len(found := {getattr(one, name) for one in read(scope=SCOPE)}) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(found)


def test_backend_away(application, sending, configured, keeper):
    """
    The agent keeps spans and records on disk until the backend is back, even if it is killed meanwhile.
    """
    agent = configured("agent", keeper)
    program = application.start(CALLS, **sending(agent), **OFTEN)
    keeper.spans(10, SCOPE)
    keeper.shut_down()
    time.sleep(OUTAGE / 2)
    agent.kill()
    agent.start()
    time.sleep(OUTAGE / 2)
    keeper.start()
    count = made(program)
    assert distinct(keeper.spans, "span_id", count) == count
    assert distinct(keeper.events, "id", count) == count


def test_agent_restarts(application, sending, configured, keeper):
    """
    OpenTelemetry's exporters lose neither span nor record while an agent is gone that is soon back.
    """
    agent = configured("agent", keeper)
    program = application.start(CALLS, **sending(agent), **OFTEN, **PATIENCE)
    keeper.spans(10, SCOPE)
    agent.kill()
    time.sleep(min(OUTAGE, RIDDEN_OUT))
    agent.start()
    count = made(program)
    assert distinct(keeper.spans, "span_id", count) == count
    assert distinct(keeper.events, "id", count) == count


def test_agent_away(application, sending, configured, keeper):
    """
    A webhook's journal keeps the records however long the agent is away; spans have six attempts of OpenTelemetry's.
    """
    agent = configured("agent", keeper)
    sink = {
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_LLM_SINKS": "agent",
        "OTEL_LLM_AGENT_TYPE": "webhook",
        "OTEL_LLM_AGENT_URL": f"http://{agent.endpoint}/v1/logs",
        "OTEL_LLM_AGENT_FORMAT": "otlp_proto",
        "OTEL_LLM_AGENT_COMPRESSION": "gzip",
        "OTEL_LLM_FLUSH_INTERVAL_MS": "100",
    }
    program = application.start(CALLS, **sending(agent) | sink, **OFTEN, **PATIENCE)
    keeper.events(10), keeper.spans(10, SCOPE)
    agent.kill()
    before = len(keeper.events())
    time.sleep(OUTAGE)
    agent.start()
    distinct(keeper.events, "id", before + 100)
    count = made(program)
    assert distinct(keeper.events, "id", count) == count
    if OUTAGE < RIDDEN_OUT:
        assert distinct(keeper.spans, "span_id", count) == count


def test_reader_of_kafka_is_killed(servers, configured, keeper, deliver, events):
    """
    A Collector that is killed while it reads from Kafka goes on where it was: every record reaches the backend.
    """
    broker = servers.get("kafka")
    topic = f"outage-{time.time_ns()}"
    broker.create(topic, partitions=2)
    sent = events(3000)
    deliver(sent, "kafka", format="otlp_proto", brokers=broker.endpoint, topic=topic)
    variables = {"KAFKA_BROKERS": broker.endpoint, "KAFKA_TOPIC": topic, "KAFKA_GROUP": topic}
    reading = configured("kafka", keeper, **variables)
    keeper.events(1)
    reading.kill()
    reading.start()
    assert distinct(keeper.events, "id", len(sent)) == len(sent)
