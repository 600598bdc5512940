"""
The formats `otlp_proto` and `otlp_json`, beside OpenTelemetry's own encoder.
"""

import base64
import json
import math

import openai
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

import otel_llm
from otel_llm.formats import FORMATS, otlp_json, otlp_proto
from otel_llm.telemetry.event import Event, Resource, Scope
from otel_llm.telemetry.log_record import event_of
from otel_llm.testing import Reply

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
long_text = st.integers(100, 20_000).map(lambda size: "é" * size)
integer = st.integers(-(2**63), 2**63 - 1)
number = st.floats(allow_nan=False, allow_infinity=False)
scalar = st.none() | st.booleans() | integer | number | text | st.binary(max_size=8)
value = st.recursive(
    scalar | long_text,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(name, inner, max_size=3),
    max_leaves=8,
)
attributes = st.dictionaries(name, value, max_size=6)
moment = st.integers(0, 2**63 - 1)

events = st.builds(
    Event,
    id=text,
    name=text,
    timestamp_ns=moment,
    observed_ns=moment,
    severity_number=st.integers(0, 24),
    severity_text=text,
    attributes=attributes,
    trace_id=st.just("") | st.integers(1, 2**128 - 1).map(lambda n: f"{n:032x}"),
    span_id=st.just("") | st.integers(1, 2**64 - 1).map(lambda n: f"{n:016x}"),
    trace_flags=st.integers(0, 255),
    body=value,
    resource=st.builds(Resource, attributes, text),
    scope=st.builds(Scope, text, text),
)


def officially(*events):
    """
    Give the events as OpenTelemetry's encoder writes them, each in a request of its own.
    """
    return b"".join(encode_logs([sdk_record(event)]).SerializeToString() for event in events)


def sdk_record(event):
    span = SpanContext(
        int(event.trace_id or "0", 16), int(event.span_id or "0", 16), False, TraceFlags(event.trace_flags)
    )
    record = LogRecord(
        timestamp=event.timestamp_ns,
        observed_timestamp=event.observed_ns,
        context=set_span_in_context(NonRecordingSpan(span)),
        severity_number=SeverityNumber(event.severity_number),
        severity_text=event.severity_text,
        body=event.body,
        attributes=event.attributes,
        event_name=event.name,
    )
    resource = SdkResource(event.resource.attributes, event.resource.schema_url)
    return ReadWriteLogRecord(record, resource, InstrumentationScope(event.scope.name, event.scope.version))


def from_json(document):
    """
    Read OTLP's JSON: protobuf's own, but for the ids, which are hex instead of base64.
    """
    request = json.loads(document)
    for resource_logs in request["resourceLogs"]:
        for scope_logs in resource_logs["scopeLogs"]:
            for record in scope_logs["logRecords"]:
                for field in {"traceId", "spanId"} & record.keys():
                    record[field] = base64.b64encode(bytes.fromhex(record[field])).decode()
    return json_format.ParseDict(request, ExportLogsServiceRequest())


@given(events)
def test_protobuf_to_the_byte(event):
    """
    Every event is written as OpenTelemetry's own encoder writes it.
    """
    assert officially(event) == otlp_proto.encode(event)


@given(events)
def test_json_says_the_same(event):
    """
    Read by protobuf, the JSON is the message that OpenTelemetry's own encoder makes.
    """
    assert ExportLogsServiceRequest.FromString(officially(event)) == from_json(otlp_json.encode(event))


@given(st.lists(events, min_size=1, max_size=4))
def test_several_in_one(events):
    """
    Joined bodies are one request with all records, in their order.
    """
    expected = ExportLogsServiceRequest.FromString(officially(*events))
    assert ExportLogsServiceRequest.FromString(otlp_proto.join(map(otlp_proto.encode, events))) == expected
    assert from_json(otlp_json.join(map(otlp_json.encode, events))) == expected


def test_only_these_can_be_joined():
    """
    A format tells whether one document can hold several events.
    """
    assert {each.name for each in FORMATS.values() if each.join} == {"otlp_json", "otlp_proto"}
    assert FORMATS["otlp_proto"].content_type == "application/x-protobuf"


def test_goldens(events):
    """
    The events of the golden documents, from a process that is dead, are written as OpenTelemetry's own encoder does.
    """
    for event in events.values():
        later = Event.decode(event.encode())
        assert officially(event) == otlp_proto.encode(event) == otlp_proto.encode(later)
        assert ExportLogsServiceRequest.FromString(officially(event)) == from_json(otlp_json.encode(later))


def test_real_calls(server, telemetry):
    """
    What both say of real calls is the same, but for the scope's schema, which events do not keep.
    """
    otel_llm.configure(content="SPAN_AND_EVENT")
    client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=0)
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    client.chat.completions.create(**asked)
    list(client.chat.completions.create(**asked, stream=True))
    server.queue("/chat/completions", Reply(status=400))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**asked)
    telemetry.records(3)
    emitted = [log for log in telemetry._logs.get_finished_logs() if log.log_record.event_name.endswith("details")]
    for record in emitted:
        expected = encode_logs([record])
        expected.resource_logs[0].scope_logs[0].ClearField("schema_url")
        assert expected.SerializeToString() == otlp_proto.encode(event_of(record))
        assert expected == from_json(otlp_json.encode(event_of(record)))
    assert len(emitted) == 3


class TestOddEvents:
    def test_no_number_at_all(self, make_event):
        """
        NaN and the infinities are numbers in protobuf and words in JSON.
        """
        event = make_event({"a": math.nan, "b": math.inf, "c": -math.inf})
        assert officially(event) == otlp_proto.encode(event)
        assert [pair["value"]["doubleValue"] for pair in pairs(event)] == ["NaN", "Infinity", "-Infinity"]

    def test_wide_integers(self, make_event):
        """
        An integer that OTLP cannot hold is written as text.
        """
        event = make_event({"a": 2**63, "b": -(2**63), "c": 2**64 - 1})
        values = [pair["value"] for pair in pairs(event)]
        assert values == [{"stringValue": str(2**63)}, {"intValue": str(-(2**63))}, {"stringValue": str(2**64 - 1)}]
        assert ExportLogsServiceRequest.FromString(otlp_proto.encode(event)) == from_json(otlp_json.encode(event))

    def test_other_types(self, make_event):
        """
        What OTLP has no type for is written as text.
        """
        event = make_event({"a": {1}, "b": {2: "two"}, "c": ValueError("no")})
        values = [pair["value"] for pair in pairs(event)]
        assert values == [
            {"arrayValue": {"values": [{"intValue": "1"}]}},
            {"kvlistValue": {"values": [{"key": "2", "value": {"stringValue": "two"}}]}},
            {"stringValue": "no"},
        ]
        assert ExportLogsServiceRequest.FromString(otlp_proto.encode(event)) == from_json(otlp_json.encode(event))

    @pytest.mark.parametrize(
        "fields",
        [
            {"trace_id": "abc", "span_id": "zz"},
            {"trace_id": "ab" * 20, "span_id": "ab"},
            {"timestamp_ns": -5, "observed_ns": 2**64},
            {"severity_number": -1, "trace_flags": 2**32},
        ],
    )
    def test_what_has_no_place_is_left_out(self, make_event, fields):
        """
        Ids, times and numbers that OTLP cannot hold are left out, rather than have the whole request refused.
        """
        event = make_event({"a": 1}, **fields)
        (record,) = json.loads(otlp_json.encode(event))["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        names = {"timestamp_ns": "timeUnixNano", "observed_ns": "observedTimeUnixNano", "trace_flags": "flags"}
        names |= {"trace_id": "traceId", "span_id": "spanId", "severity_number": "severityNumber"}
        assert not {names[field] for field in fields} & record.keys()
        written = ExportLogsServiceRequest.FromString(otlp_proto.encode(event))
        assert written == from_json(otlp_json.encode(event))

    def test_resources_are_not_mixed_up(self, make_event):
        """
        Two resources that Python finds equal are written each as it is.
        """
        one, two = (make_event(resource=Resource({"a": flag})) for flag in (1, True))
        assert [officially(one), officially(two)] == [otlp_proto.encode(one), otlp_proto.encode(two)]


def pairs(event):
    """
    Give the record's attributes as they stand in the JSON.
    """
    return json.loads(otlp_json.encode(event))["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"]
