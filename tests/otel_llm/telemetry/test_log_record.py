import uuid

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_llm.telemetry.event import EVENT_NAME, Event
from otel_llm.telemetry.log_record import EventProcessor, SafeRecords

SPAN = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))


class Logging:
    """
    A logger provider of its own with our processor first, what that took, and what an exporter saw after it.
    """

    def __init__(self):
        self.taken = []
        self.exported = InMemoryLogRecordExporter()
        self.provider = LoggerProvider(Resource({"service.name": "shop"}, "https://example.com/schema"))
        self.provider.add_log_record_processor(EventProcessor(self.taken.append))
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self.exported))

    def emit(self, scope="acme", **fields):
        self.provider.get_logger(scope, "1.2").emit(LogRecord(**fields))
        return self.taken


@pytest.fixture
def logging():
    return Logging()


class TestWhichRecords:
    def test_records_of_calls_are_taken(self, logging):
        """
        The conventions' event is taken, whoever emits it.
        """
        assert len(logging.emit(event_name=EVENT_NAME)) == 1

    def test_genai_attributes_tell_a_call(self, logging):
        """
        A record that names its GenAI operation is a call's, whatever its own name.
        """
        assert len(logging.emit(attributes={"gen_ai.operation.name": "chat"})) == 1

    @pytest.mark.parametrize(
        "fields",
        [
            {"body": "a line of the application's log"},
            {"event_name": "acme.login", "attributes": {"user.id": "u"}},
            {"event_name": "gen_ai.client.operation.exception", "attributes": {"gen_ai.operation.name": "chat"}},
        ],
        ids=["log", "event", "exception"],
    )
    def test_others_are_not(self, logging, fields):
        """
        The application's own logs, and exceptions that belong to a call recorded already, are no calls.
        """
        assert logging.emit(**fields) == []


class TestEvents:
    def test_everything_is_carried_over(self, logging):
        """
        Times, ids, severity, body, attributes, resource and scope of the record are the event's.
        """
        context = trace.set_span_in_context(NonRecordingSpan(SPAN))
        (event,) = logging.emit(
            timestamp=5,
            observed_timestamp=6,
            context=context,
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body={"a": 1},
            attributes={"gen_ai.operation.name": "chat", "otel_llm.event.id": "e-1", "tags": ["x"]},
            event_name=EVENT_NAME,
        )
        assert (event.id, event.name, event.timestamp_ns, event.observed_ns) == ("e-1", EVENT_NAME, 5, 6)
        assert (event.trace_id, event.span_id, event.trace_flags) == (f"{0xABC:032x}", f"{0xDEF:016x}", 1)
        assert (event.severity_number, event.severity_text, event.body) == (17, "ERROR", {"a": 1})
        assert (event.scope.name, event.scope.version) == ("acme", "1.2")
        assert event.resource.attributes["service.name"] == "shop"
        assert event.resource.schema_url == "https://example.com/schema"
        assert Event.decode(event.encode()).attributes["gen_ai.operation.name"] == "chat"

    def test_id_is_minted_once(self, logging):
        """
        A record without an id gets one, and an exporter that sees it afterwards sees the same.
        """
        (event,) = logging.emit(event_name=EVENT_NAME)
        (exported,) = logging.exported.get_finished_logs()
        assert uuid.UUID(event.id).version == 7
        assert exported.log_record.attributes["otel_llm.event.id"] == event.id

    def test_no_span_is_no_id(self, logging):
        """
        Outside of spans the ids are empty, not zeros.
        """
        (event,) = logging.emit(event_name=EVENT_NAME)
        assert (event.trace_id, event.span_id) == ("", "")

    def test_nothing_but_a_name(self, logging):
        """
        The barest record becomes an event with a time.
        """
        (event,) = logging.emit(event_name=EVENT_NAME, observed_timestamp=7)
        assert (event.timestamp_ns, event.severity_number, event.severity_text) == (7, 0, "")


class TestOddRecords:
    def test_what_no_reader_could_take_is_replaced(self, logging):
        """
        Another instrumentation's record is mended where it is odd, also for exporters that see it later.
        """
        (event,) = logging.emit(
            timestamp=2**70,
            observed_timestamp=7,
            severity_text="\ud800",
            body={"a": {1, 2}},
            attributes={"gen_ai.operation.name": "chat", "seed": 2**70},
            event_name="acme.\ud800",
        )
        (exported,) = logging.exported.get_finished_logs()
        assert (event.timestamp_ns, event.severity_text, event.name) == (7, "\ufffd", "acme.\ufffd")
        assert (event.body, event.get("seed")) == ({"a": [1, 2]}, str(2**70))
        assert exported.log_record.body == event.body
        assert dict(exported.log_record.attributes) == event.attributes

    def test_nothing_is_raised_into_the_application(self, logging):
        """
        A record that is none at all is left out, and whoever emitted it does not hear of it.
        """
        assert logging.emit(event_name=EVENT_NAME, severity_number="loud") == []

    def test_before_a_batch_processor_copies_it(self):
        """
        A record is mended before the processors that were there first, and others' logs are let alone.
        """
        exported = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(exported))
        SafeRecords().join(provider)
        logger = provider.get_logger("acme")
        logger.emit(LogRecord(event_name=EVENT_NAME, body="half \ud800", attributes={"seed": 2**70}))
        logger.emit(LogRecord(event_name="acme.started", body="half \ud800"))
        provider.force_flush()
        genai, other = (log.log_record for log in exported.get_finished_logs())
        assert (genai.body, dict(genai.attributes), other.body) == ("half \ufffd", {"seed": str(2**70)}, "half \ud800")
        provider.shutdown()
