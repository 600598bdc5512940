"""
Values that could cost others their place in a batch: every kind, by every way into a record, and out by every exit.

Each is sent between two good records; all three have to arrive.
"""

import contextlib
import json
import logging
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import grpc
import openai
import pytest
from collector import Collector
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry._logs import LogRecord, get_logger
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import otel_llm
from otel_llm.formats import FORMATS
from otel_llm.telemetry.event import EVENT_NAME, Event
from otel_llm.telemetry.log_record import event_of
from otel_llm.testing import Reply

FIFTY_MEGABYTES = 50_000_000


class Thing:
    def __str__(self):
        return "a thing"


class Rude:
    def __str__(self):
        raise RuntimeError("no")


def nested(depth):
    value = "deep"
    for _ in range(depth):
        value = {"a": [value]}
    return value


CIRCLE = [1]
CIRCLE.append(CIRCLE)

TEXTS = {"surrogate": "a\ud800b", "nul": "a\0b", "long": "x" * 5_000_000}
NUMBERS = {"2**63": 2**63, "2**64": 2**64, "2**70": 2**70, "-2**70": -(2**70), "10**400": 10**400}
FLOATS = {"nan": math.nan, "infinity": math.inf}
DEPTHS = {"deep": nested(40), "deeper": nested(400)}
OBJECTS = {"bytes": b"\xff\x00", "object": Thing(), "a-set": {1, 2}}


def chat(client, **more):
    """
    Make one call; where the SDK itself cannot stand what it gets, that is its user's to see.
    """
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    with contextlib.suppress(Exception):
        client.chat.completions.create(**asked | more)


def by_label(client, _server, value):
    with otel_llm.labels(team=value, user_id=value):
        chat(client)


def by_context(client, _server, value):
    token = otel_context.attach(otel_context.set_value("team", value))
    chat(client)
    otel_context.detach(token)


def by_baggage(client, _server, value):
    token = otel_context.attach(baggage.set_baggage("team", value))
    chat(client)
    otel_context.detach(token)


def by_header(client, _server, value):
    chat(client, extra_headers={"x-user-id": value, "x-session-id": value})


def by_request(client, _server, value):
    chat(client, seed=value, extra_body={"top_k": value})


def by_tool(client, _server, value):
    chat(client, tools=[{"type": "function", "function": {"name": "f", "parameters": {"default": value}}}])


def by_model(client, _server, value):
    chat(client, model=value)


def by_usage(client, server, value):
    _answer(client, server, usage={"prompt_tokens": value, "completion_tokens": 3})


def by_answer(client, server, value):
    _answer(client, server, id=value, model=value, service_tier=value, system_fingerprint=value)


def by_content(client, server, value):
    message = {"role": "assistant", "content": value}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": value})}}
    _answer(
        client, server, choices=[{"index": 0, "finish_reason": "stop", "message": message | {"tool_calls": [call]}}]
    )


def by_error(client, server, value):
    body = {"error": {"message": value, "code": value, "type": value}}
    server.queue("/chat/completions", Reply(status=400, body=json.dumps(body).encode()))
    chat(client)


def _answer(client, server, **more):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice]} | more
    server.queue("/chat/completions", Reply(body=json.dumps(answer).encode()))
    chat(client)


def _emit(**fields):
    attributes = {"gen_ai.operation.name": "chat"} | fields.pop("attributes", {})
    get_logger("acme").emit(LogRecord(**{"event_name": EVENT_NAME, "attributes": attributes} | fields))


def by_foreign_attribute(_client, _server, value):
    told = {"acme.value": value, "acme.list": [value]}
    _emit(attributes=told if isinstance(value, dict) else told | {"gen_ai.request.model": value})


def by_foreign_body(_client, _server, value):
    _emit(body=value)


def by_foreign_texts(_client, _server, value):
    _emit(severity_text=value, event_name=f"acme.{value}")


def by_foreign_times(_client, _server, value):
    _emit(timestamp=value, observed_timestamp=value)


WAYS = {
    by_label: TEXTS | NUMBERS | FLOATS | OBJECTS | {"fifty-megabytes": "x" * FIFTY_MEGABYTES},
    by_context: TEXTS | NUMBERS | FLOATS | {"bytes": b"\xff\x00", "object": Thing()},
    by_baggage: TEXTS,
    by_header: {"long": "x" * 50_000},
    by_request: NUMBERS,
    by_tool: NUMBERS | {"nul": "a\0b", "long": "x" * 5_000_000} | DEPTHS,
    by_model: {"nul": "a\0b", "long": "x" * 5_000_000},
    by_usage: NUMBERS | TEXTS | {"null": None},
    by_answer: TEXTS | NUMBERS | DEPTHS,
    by_content: TEXTS | NUMBERS | DEPTHS | {"fifty-megabytes": "x" * FIFTY_MEGABYTES},
    by_error: TEXTS | NUMBERS | DEPTHS,
    by_foreign_attribute: TEXTS | NUMBERS | FLOATS | OBJECTS | {"deep": nested(40)},
    by_foreign_body: TEXTS
    | NUMBERS
    | FLOATS
    | OBJECTS
    | {"deep": nested(40), "deepest": nested(10_000), "circle": CIRCLE, "rude": Rude()},
    by_foreign_texts: TEXTS,
    by_foreign_times: {"2**70": 2**70, "negative": -5},
}
CASES = [
    pytest.param(way, value, id=f"{way.__name__}-{name}", marks=[pytest.mark.slow] if name == "fifty-megabytes" else ())
    for way, values in WAYS.items()
    for name, value in values.items()
]


class Keeping(Collector):
    """
    Keeps whole log records, and counts spans and data points.
    """

    def take(self, path, body):
        if path == "/v1/logs":
            self.logs += _records(ExportLogsServiceRequest.FromString(body))
        elif path == "/v1/traces":
            for one in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in one.scope_spans for span in scope.spans]
        else:
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))

    def Export(self, request, _context):  # noqa: N802 - gRPC's name
        self.logs += _records(request)
        return ExportLogsServiceResponse()


def _records(request):
    return [record for one in request.resource_logs for scope in one.scope_logs for record in scope.log_records]


@pytest.fixture(scope="module")
def http():
    with Keeping() as collector:
        url = collector.variables["OTEL_EXPORTER_OTLP_ENDPOINT"]
        collector.exporters = (
            OTLPLogExporter(f"{url}/v1/logs"),
            OTLPSpanExporter(f"{url}/v1/traces"),
            OTLPMetricExporter(f"{url}/v1/metrics"),
        )
        yield collector
        for exporter in collector.exporters:
            exporter.shutdown()


@pytest.fixture(scope="module")
def over_grpc():
    collector = Keeping()
    collector._server.server_close()
    server = grpc.server(ThreadPoolExecutor(1))
    logs_grpc.add_LogsServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.exporter = GrpcLogExporter(f"http://127.0.0.1:{port}", insecure=True)
    yield collector
    collector.exporter.shutdown()
    server.stop(0).wait()


@pytest.fixture
def client(server, telemetry, tmp_path):  # noqa: ARG001
    sinks = {"sqlite": {"path": str(tmp_path / "calls.db")}, "jsonl": {"path": str(tmp_path / "logs")}}
    otel_llm.configure(
        sinks,
        content="SPAN_AND_EVENT",
        custom_labels=["team"],
        journal_dir=str(tmp_path / "journal"),
        log_level="error",
    )
    with openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(("way", "value"), CASES)
def test_all_three_arrive(client, server, telemetry, http, over_grpc, caplog, way, value):
    """
    A hostile record and the two around it leave in one batch, with all they have.

    They do by OpenTelemetry's exporters, as spans and metrics too, and in each format of ours.
    """
    chat(client, user="before")
    with caplog.at_level(logging.CRITICAL):  # the SDK complains of the values themselves
        way(client, server, value)
    chat(client, user="after")
    telemetry.logs()
    emitted = _emitted(telemetry)
    assert len(emitted) == 3

    http.logs.clear(), http.spans.clear(), http.metrics.clear(), over_grpc.logs.clear()
    caplog.clear()
    logs, spans, metrics = http.exporters
    logs.export(emitted)
    over_grpc.exporter.export(emitted)
    ended = telemetry.spans()
    spans.export(ended)
    metrics.export(telemetry._metrics.get_metrics_data())
    carried = sorted(len(record.log_record.attributes) for record in emitted)
    assert sorted(len(record.attributes) for record in http.logs) == carried
    assert sorted(len(record.attributes) for record in over_grpc.logs) == carried
    assert [len(span.attributes) for span in http.spans] == [len(span.attributes) for span in ended]
    assert (len(http.metrics), caplog.messages) == (1, [])

    for event in map(event_of, emitted):
        later = Event.decode(event.encode())
        for each in FORMATS.values():
            assert each.encode(event)
            _check(each, each.encode(later))


def _emitted(telemetry):
    return [log for log in telemetry._logs.get_finished_logs() if "exception" not in log.log_record.event_name]


def _check(form, body):
    if form.name == "otlp_proto":
        assert len(_records(ExportLogsServiceRequest.FromString(body))) == 1
    else:
        json.loads(body, parse_constant=pytest.fail)


@pytest.mark.parametrize("way", [by_label, by_usage, by_content, by_foreign_attribute, by_foreign_body])
def test_our_stores_take_them(client, server, tmp_path, way):
    """
    Every record stands in SQLite and in JSONL, in the order they were made, and none in the dead letters.
    """
    values = [value for value in WAYS[way].values() if not isinstance(value, str) or len(value) < FIFTY_MEGABYTES]
    for value in values:
        chat(client)
        way(client, server, value)
    chat(client)
    assert otel_llm.flush(20)
    count = 2 * len(values) + 1
    assert {name: (stats.events_sent, stats.dead) for name, stats in otel_llm.stats().items()} == {
        "sqlite": (count, 0),
        "jsonl": (count, 0),
    }
    with contextlib.closing(sqlite3.connect(tmp_path / "calls.db")) as database:
        assert database.execute("SELECT count(*) FROM llm_calls").fetchone() == (count,)
    lines = [json.loads(line) for file in tmp_path.glob("logs/usage/*") for line in file.read_bytes().splitlines()]
    assert len({line["eventId"] for line in lines}) == count
