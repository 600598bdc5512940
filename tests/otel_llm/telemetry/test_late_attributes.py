import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_llm.telemetry import late_attributes
from otel_llm.telemetry.late_attributes import LATER, NOW
from otel_llm.telemetry.log_record import CallRecord

FIRST = {"gen_ai.operation.name": "chat"}
REST = {"gen_ai.usage.input_tokens": 7, "gen_ai.response.finish_reasons": ("stop",)}


LOOKS = {
    "dict": dict,
    "len": len,
    "bool": bool,
    "list": list,
    "repr": repr,
    "deepcopy": copy.deepcopy,
    "copy": lambda attributes: attributes.copy(),
    "[]": lambda attributes: attributes["gen_ai.usage.input_tokens"],
    "in": lambda attributes: "gen_ai.usage.input_tokens" in attributes,
    "dropped": lambda attributes: attributes.dropped,
    "update": lambda attributes: attributes.update(app="ours"),
}


class Rest:
    """
    What is told later, and how often it was asked for.
    """

    def __init__(self):
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return dict(REST)


@pytest.fixture
def rest():
    return Rest()


def stumble():
    raise ZeroDivisionError


class TestAsked:
    @pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
    def test_whoever_looks_finds_everything(self, rest, look):
        """
        However somebody looks, the rest is there, and was asked for once.
        """
        attributes = LATER.of_record(FIRST, rest)
        assert rest.asked == 0
        look(attributes)
        assert rest.asked == 1
        assert {**attributes} == FIRST | REST | ({"app": "ours"} if "app" in attributes else {})
        assert rest.asked == 1

    def test_what_is_asked_for_is_let_go(self, rest):
        """
        Once told, attributes hold nothing of the call but themselves.
        """
        attributes, held = LATER.of_record(FIRST, rest), sys.getrefcount(rest)
        dict(attributes)
        assert sys.getrefcount(rest) == held - 1

    def test_our_failure_is_nobody_elses(self):
        """
        An exporter that asks in vain gets what is known, and no exception.
        """
        assert dict(LATER.of_record(FIRST, stumble)) == FIRST

    def test_two_who_ask_at_once(self):
        """
        All get the same attributes, whoever was first.
        """
        barrier = Barrier(4)

        def told():
            barrier.wait(10)
            return {"at": object()}

        attributes = LATER.of_record(FIRST, told)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: attributes["at"], range(4)))
        assert len(set(map(id, found))) == 1

    def test_anything_else_is_missing(self, rest):
        """
        Attributes have no attribute that the SDK's have not.
        """
        assert not hasattr(LATER.of_record(FIRST, rest), "nonsense")
        assert rest.asked == 0


class TestSpan:
    def test_nobody_asks_before_the_export(self, rest):
        """
        Between the end of a span and its export nothing is worked out.
        """
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        span = provider.get_tracer("test").start_span("chat", attributes=FIRST)
        LATER.to_span(span, rest)
        span.end()
        assert rest.asked == 0
        assert provider.force_flush()
        (ended,) = exporter.get_finished_spans()
        assert ended.attributes == FIRST | REST
        assert rest.asked == 1
        provider.shutdown()

    def test_attributes_that_others_set_stay(self, rest):
        """
        What the application sets on the span, before or after, is told with ours.
        """
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        span = provider.get_tracer("test").start_span("chat", attributes=FIRST)
        span.set_attribute("before", 1)
        LATER.to_span(span, rest)
        span.set_attribute("after", 2)
        span.end()
        (ended,) = exporter.get_finished_spans()
        assert ended.attributes == FIRST | REST | {"before": 1, "after": 2}

    def test_dropped_attributes_are_counted_before_anybody_looks(self, rest):
        """
        An exporter may ask for the number of dropped attributes first.
        """
        exporter = InMemorySpanExporter()
        provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=2))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        span = provider.get_tracer("test").start_span("chat", attributes=FIRST)
        LATER.to_span(span, rest)
        span.end()
        (ended,) = exporter.get_finished_spans()
        assert ended.dropped_attributes == 1
        assert ended.attributes == REST


class TestRecord:
    def test_nobody_asks_before_the_export(self, rest):
        """
        A record waits in a batch processor without being worked out.
        """
        exporter = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        record = LogRecord(event_name="test", attributes=LATER.of_record(FIRST, rest))
        ready = CallRecord(record, provider.resource, InstrumentationScope("test"), LogRecordLimits())
        provider.get_logger("test").emit(ready)
        assert rest.asked == 0
        assert provider.force_flush()
        (exported,) = exporter.get_finished_logs()
        assert dict(exported.log_record.attributes) == FIRST | REST
        assert rest.asked == 1
        provider.shutdown()


class TestNow:
    def test_everything_is_there_at_once(self, rest):
        """
        Where a journal will ask anyway, nothing waits.
        """
        assert NOW.of_record(FIRST, rest) == FIRST | REST
        span = TracerProvider().get_tracer("test").start_span("chat", attributes=FIRST)
        NOW.to_span(span, rest)
        assert rest.asked == 2
        assert span.attributes == FIRST | REST

    def test_our_failure_is_nobody_elses(self):
        """
        A call that cannot be described is recorded with what is known.
        """
        assert NOW.of_record(FIRST, stumble) == FIRST

    @pytest.mark.parametrize("tell", [NOW, LATER], ids=["now", "later"])
    def test_an_sdk_that_keeps_attributes_otherwise(self, rest, monkeypatch, tell):
        """
        Where the SDK is not as we know it, its own way is taken.
        """
        monkeypatch.setattr(late_attributes, "_KNOWN", False)
        span = TracerProvider().get_tracer("test").start_span("chat", attributes=FIRST)
        tell.to_span(span, rest)
        assert rest.asked == 1
        assert span.attributes == FIRST | REST
