"""Each configuration in `collector-config/` in a real Collector: what goes in, and what comes out."""

import hashlib
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from launch import CHAT

from otel_llm.delivery.route import CONTENT
from otel_llm.testing import Reply
from tests.servers import collector
from tests.servers.kit import ports
from tests.servers.kit.missing import Missing

pytestmark = pytest.mark.server

FOLDER = Path(__file__).parents[2] / "collector-config"
SCOPE, COST = "otel_llm", "otel_llm.cost"
FILES = sorted(FOLDER.glob("*.yaml"))

CALLS = """
import sys
import openai
from opentelemetry import trace
client = openai.OpenAI()
for model, trace_id in (call.split("@") for call in sys.argv[1:]):
    above = trace.SpanContext(int(trace_id, 16), 1, is_remote=True, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(above)):
        try:
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
        except openai.OpenAIError:
            pass
"""
"""Makes a call for each argument, `model@trace-id`."""

TENANTS = """
import openai, otel_llm
for tenant in ("acme", "globex", "initech"):
    with otel_llm.labels(tenant_id=tenant):
        openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
"""

CONFIDENTIAL = """
import contextlib
import openai, otel_llm
from opentelemetry import _logs, trace
with otel_llm.labels(user_id="ada@example.com", session_id="s-77"):
    client = openai.OpenAI()
    for model in ("gpt-4o-mini", "refused"):
        with contextlib.suppress(openai.BadRequestError):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "the crown jewels"}])
with contextlib.suppress(ValueError), trace.get_tracer("another").start_as_current_span("chat") as span:
    span.set_attribute("gen_ai.prompt.0.content", "the crown jewels")
    span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": "the crown jewels"})
    _logs.get_logger("another").emit(event_name="gen_ai.user.message", body={"content": "the crown jewels"})
    _logs.get_logger("another").emit(event_name="gen_ai.choice", body="the crown jewels")
    raise ValueError("the crown jewels")
"""
"""Tells what was said by every way there is, ours and that of other instrumentations."""
SAID = ("the crown jewels", "It is sunny", "ada@example.com", "s-77")
REFUSED = Reply(
    status=400, body=b'{"error": {"message": "not about the crown jewels", "type": "invalid_request_error"}}'
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_valid_as_it_stands(path, tmp_path):
    """
    Without a single variable the Collector takes the file.
    """
    try:
        program = collector.install() / "collector"
    except Missing as missing:
        pytest.skip(str(missing))
    done = subprocess.run(
        [program, "validate", "--config", path], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_agent(run, configured, keeper):
    """
    The agent passes on all three signals.
    """
    agent = configured("agent", keeper)
    run(CHAT, agent)
    (span,), (record,) = keeper.spans(1, SCOPE), keeper.events(1, SCOPE)
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert keeper.metrics(3).keys() > {"gen_ai.client.token.usage", COST}


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_kafka(servers, configured, keeper, deliver, events, encoding):
    """
    Records in Kafka reach the backend as they were sent.
    """
    broker = servers.get("kafka")
    topic = f"config-{time.time_ns()}"
    broker.create(topic, partitions=2)
    variables = {"KAFKA_BROKERS": f"{broker.endpoint},127.0.0.1:1", "KAFKA_TOPIC": topic, "KAFKA_GROUP": topic}
    configured("kafka", keeper, KAFKA_ENCODING=encoding, **variables)
    sent = events(100)
    deliver(sent, "kafka", format=encoding, brokers=broker.endpoint, topic=topic)
    assert sorted(keeper.events(100), key=lambda event: event.get("number")) == sent


def test_gateway(server, run, configured, keeper):
    """
    Traces with a failure, a rate limit or an expensive call are kept whole, wherever their spans came in.
    """
    inside = [f"127.0.0.1:{ports.free()}" for _ in range(2)]
    settings = {"GATEWAY_PEERS": ",".join(inside), "GATEWAY_WAIT": "2s", "GATEWAY_SAMPLE_PERCENT": "0"}
    settings |= {"GATEWAY_EXPENSIVE_USD": "0.00005"}  # a call of gpt-4o costs 0.00014 here, one of gpt-4o-mini 0.00001
    first, second = (configured("gateway", keeper, GATEWAY_LISTEN=listen, **settings) for listen in inside)
    failed, limited, expensive, dull = (f"{number:032x}" for number in (0xF, 0x1, 0xE, 0xD))
    server.queue("/chat/completions", Reply(status=401), containing=b'"broken"')
    server.queue("/chat/completions", Reply.rate_limited(retry_after=0.01), containing=b'"busy"')
    run(CALLS, first, f"broken@{failed}", f"busy@{limited}", f"gpt-4o@{expensive}", f"gpt-4o-mini@{dull}")
    run(CALLS, second, *(f"gpt-4o-mini@{trace}" for trace in (failed, limited, expensive, dull)))
    keeper.spans(6, SCOPE)
    for running in (first, second, keeper):
        running.shut_down()
    assert sorted(span.trace_id for span in keeper.spans(scope=SCOPE)) == sorted([failed, limited, expensive] * 2)
    assert len(keeper.events(scope=SCOPE)) == 8


def test_gateway_waits_for_a_member(run, configured, keeper):
    """
    While a member is down, the spans of its traces wait at the other, and arrive when it is back.
    """
    inside = [f"127.0.0.1:{ports.free()}" for _ in range(2)]
    settings = {"GATEWAY_PEERS": ",".join(inside), "GATEWAY_WAIT": "1s", "GATEWAY_SAMPLE_PERCENT": "100"}
    first, second = (configured("gateway", keeper, GATEWAY_LISTEN=listen, **settings) for listen in inside)
    second.kill()
    traces = [f"{number:032x}" for number in range(1, 13)]
    run(CALLS, first, *(f"gpt-4o-mini@{trace}" for trace in traces))
    assert len(keeper.events(12, SCOPE)) == 12
    assert 0 < len(keeper.spans(1, SCOPE)) < 12
    second.start()
    assert sorted(span.trace_id for span in keeper.spans(12, SCOPE)) == traces


@pytest.fixture
def redacted(server, run, configured, started):
    """
    Give a function that lets a program tell everything to a Collector that redacts; gives what was open and what left.
    """

    def redacted(**settings):
        plain, keeper = started(), started()
        for target in (plain, configured("redact", keeper, REDACT_SALT="pepper", **settings)):
            server.queue("/chat/completions", REFUSED, containing=b'"refused"')
            run(CONFIDENTIAL, target, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_AND_EVENT")
            target.shut_down()
        keeper.spans(3), keeper.events(4)
        assert [text for text in SAID if text not in plain.kept.read_text()] == []
        assert [text for text in SAID if text in keeper.kept.read_text()] == []
        return plain, keeper

    return redacted


def hashed(text):
    return hashlib.sha256(f"pepper{text}".encode()).hexdigest()


def test_redact(redacted):
    """
    Nothing that was said leaves, nor who said it, nor what an error quoted; the hashes of span and record are the same.
    """
    _, keeper = redacted()
    (span, *_), (record, *_) = keeper.spans(2, SCOPE), keeper.events(2, SCOPE)
    identity = [hashed(text) for text in SAID[2:]]
    assert [span.attributes[name] for name in ("user.id", "session.id")] == identity
    assert [record.get(name) for name in ("user.id", "session.id")] == identity
    assert record.get("gen_ai.usage.cost") == span.attributes["gen_ai.usage.cost"] > 0
    assert keeper.events(2, SCOPE)[1].get("error.type") == "invalid_request_error"
    assert hashed(SAID[0]) not in keeper.kept.read_text()


def test_redact_by_hash(redacted):
    """
    What was said leaves as hashes, by which equal texts are found: attributes, bodies, errors and descriptions.
    """
    plain, keeper = redacted(REDACT_CONTENT="hash")
    left = keeper.kept.read_text()
    for told in (*plain.spans(scope=SCOPE), *plain.events(scope=SCOPE)):
        text = told.attributes["gen_ai.input.messages"]
        assert not isinstance(text, str) or hashed(text) in left
    _, refused = keeper.events(2, SCOPE)
    message = hashed(plain.events(2, SCOPE)[1].get("otel_llm.error.message"))
    assert refused.get("hashed.otel_llm.error.message") == refused.get("hashed.exception.message") == message
    assert left.count(message) == 3  # and the span's status
    assert left.count(hashed(SAID[0])) == 4  # body, attribute, attribute of an event, exception on a span
    assert all(hashed(text) in left for text in ('{"content":"the crown jewels"}', "ValueError: the crown jewels"))


def test_redact_knows_the_content_that_we_know():
    """
    The names in the file are those by which a sink with `content: none` leaves content out.
    """
    pattern = CONTENT.pattern.replace("\\", "\\\\")
    assert (FOLDER / "redact.yaml").read_text().count(f'"^(?:{pattern}|') == 3


def test_prometheus(run, configured, keeper):
    """
    Metrics are on the page with the process's name; span and record are at the backend.
    """
    page = f"127.0.0.1:{ports.free()}"
    run(CHAT, configured("prometheus", keeper, PROMETHEUS_LISTEN=page))
    assert (len(keeper.spans(1, SCOPE)), len(keeper.events(1, SCOPE))) == (1, 1)
    with urllib.request.urlopen(f"http://{page}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    tokens, cost = (
        {
            re.search(r"token_type=\"(\w+)\"|$", line)[1]: float(line.split()[-1])
            for line in lines
            if line.startswith(name)
        }
        for name in ("gen_ai_client_token_usage_sum", "otel_llm_cost_total")
    )
    assert (tokens, cost) == ({"input": 9, "output": 12}, {None: 8.55e-06})
    assert all('job="shop"' in line for line in lines if line.startswith("otel_llm_cost"))


def test_routing(run, configured, started):
    """
    A tenant's calls go to his own backend, with every signal; those of all others to the shared one.
    """
    acme, others = started(), started()
    routing = configured("routing", others, ACME_ENDPOINT=f"http://{acme.endpoint}")
    run(TENANTS, routing, OTEL_LLM_METRIC_LABELS="tenant_id", OTEL_LLM_CUSTOM_LABELS="tenant_id")
    for keeper, tenants in ((acme, ["acme"]), (others, ["globex", "initech"])):
        spans, records = keeper.spans(len(tenants), SCOPE), keeper.events(len(tenants), SCOPE)
        signals = (
            [span.attributes for span in spans],
            [record.attributes for record in records],
            keeper.metrics(3)[COST],
        )
        assert [sorted(one["otel_llm.label.tenant_id"] for one in signal) for signal in signals] == [tenants] * 3
