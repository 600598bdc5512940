"""A program under `opentelemetry-instrument` and a real Collector: three signals, each once, that belong together."""

import time

import pytest
from launch import ANSWER, CHAT

from tests.servers._kafka_reader import read

pytestmark = pytest.mark.server

SCOPE = "otel_llm"
TOKENS, DURATION, COST = "gen_ai.client.token.usage", "gen_ai.client.operation.duration", "otel_llm.cost"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_span_and_record_meet(run, keeper, protocol):
    """
    A call's span and its record arrive with the same trace id and span id.
    """
    run(CHAT, keeper, protocol=protocol)
    keeper.shut_down()
    (span,), (record,) = keeper.spans(scope=SCOPE), keeper.events(scope=SCOPE)
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert span.resource.attributes == record.resource.attributes


def test_three_signals_and_a_sink(run, keeper, servers):
    """
    Each signal is in the Collector, and the record in Kafka too, each once.
    """
    broker = servers.get("kafka")
    topic = f"signals-{time.time_ns()}"
    broker.create(topic)
    kafka = {"OTEL_LLM_KAFKA_BROKERS": broker.endpoint, "OTEL_LLM_KAFKA_TOPIC": topic}
    done = run(CHAT, keeper, OTEL_LOGS_EXPORTER="otlp,llm_kafka", **kafka)
    keeper.shut_down()
    (span,), (record,) = keeper.spans(scope=SCOPE), keeper.events(scope=SCOPE)
    (message,) = read(broker.endpoint, topic)
    assert (done.stdout, message.headers["event_id"].decode()) == (ANSWER, record.id)
    assert span.attributes["gen_ai.usage.cost"] == record.get("gen_ai.usage.cost") == 8.55e-06
    points = {name: len(found) for name, found in keeper.metrics().items() if name in {TOKENS, DURATION, COST}}
    assert points == {TOKENS: 2, DURATION: 1, COST: 1}
