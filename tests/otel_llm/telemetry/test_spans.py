import sys
from types import SimpleNamespace

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from otel_llm.call import Failure
from otel_llm.capture.outcome import Outcome
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.late_attributes import LATER, NOW
from otel_llm.telemetry.record import described
from otel_llm.telemetry.spans import close_span, note_attempt, open_span

STARTED = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
CHAT = {"gen_ai.operation.name": "chat"}

CALLS = {
    "anthropic's own": ("com.anthropic.sdk.python", CHAT),
    "anthropic's own, beta or bedrock": ("com.anthropic.sdk.python.bedrock", CHAT),
    "genai openai": ("opentelemetry.instrumentation.genai.openai", CHAT),
    "genai anthropic": ("opentelemetry.instrumentation.genai.anthropic", CHAT),
    "OpenLLMetry": ("opentelemetry.instrumentation.openai.v1", CHAT),
    "OpenLLMetry, before it knows": ("opentelemetry.instrumentation.anthropic", {}),
    "OpenInference": ("openinference.instrumentation.openai", {"openinference.span.kind": "LLM"}),
    "OpenInference embeddings": ("openinference.instrumentation.openai", {"openinference.span.kind": "EMBEDDING"}),
    "OpenLIT openai": ("openlit.instrumentation.openai", CHAT),
    "OpenLIT anthropic": ("openlit.instrumentation.anthropic", {}),
    "logfire": ("logfire.openai", {**CHAT, "request_data": "{}"}),
    "somebody by attributes": ("acme.llm", {"gen_ai.operation.name": "embeddings"}),
    "somebody by kind": ("acme.llm", {"openinference.span.kind": "LLM"}),
}
PARENTS = {
    "the application": ("app", {}),
    "logfire's user": ("logfire", {}),
    "an HTTP server": ("opentelemetry.instrumentation.fastapi", {"http.route": "/"}),
    "an HTTP client": ("opentelemetry.instrumentation.httpx", {"http.request.method": "POST"}),
    "an agent": ("opentelemetry.instrumentation.genai.openai_agents", {"gen_ai.operation.name": "invoke_agent"}),
    "a tool": ("opentelemetry.instrumentation.genai.openai", {"gen_ai.operation.name": "execute_tool"}),
    "a chain": ("openinference.instrumentation.langchain", {"openinference.span.kind": "CHAIN"}),
    "an agent by kind": ("openinference.instrumentation.openai_agents", {"openinference.span.kind": "AGENT"}),
    "ourselves": ("otel_llm", CHAT),
}
SUPPRESSION = ("suppress_instrumentation", _SUPPRESS_INSTRUMENTATION_KEY)
METERED_BY_THEMSELVES = ("opentelemetry.instrumentation.", "openlit.")


class Tracing:
    """
    A tracer provider of its own, and the spans that ended.
    """

    def __init__(self, limits=None):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(span_limits=limits)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def open(self, provider="openai"):
        """
        Open a call's span where the context is as it is.
        """
        started = STARTED | {"gen_ai.provider.name": provider}
        return open_span(self.provider.get_tracer("otel_llm"), "chat gpt-4o", started, 1_000)

    @property
    def ended(self):
        return self._exporter.get_finished_spans()


def outcome(call):
    """
    Say how a call ended.
    """
    return Outcome(call.started_ns + call.duration_ns, call.failure is not None, lambda: call, None, 0)


@pytest.fixture
def tracing():
    return Tracing()


@pytest.fixture
def within(tracing):
    """
    Make a span of some scope the current one for the rest of the test.
    """
    tokens = []

    def within(scope, attributes):
        span = tracing.provider.get_tracer(scope).start_span("outer", attributes=attributes)
        tokens.append(otel_context.attach(trace.set_span_in_context(span)))
        return span

    yield within
    for token in reversed(tokens):
        otel_context.detach(token)


@pytest.fixture
def within_context():
    """
    Set a value in the context for the rest of the test.
    """
    tokens = []
    yield lambda key, value: tokens.append(otel_context.attach(otel_context.set_value(key, value)))
    for token in reversed(tokens):
        otel_context.detach(token)


class TestWhoseSpan:
    @pytest.mark.parametrize(("scope", "attributes"), CALLS.values(), ids=CALLS)
    def test_a_call_of_somebody_else_is_enriched(self, tracing, within, scope, attributes):
        """
        A current span that describes the call is taken, and who makes token metrics himself keeps them.
        """
        outer = within(scope, attributes)
        found = tracing.open()
        assert (found.span, found.owned) == (outer, False)
        assert found.metered is not scope.startswith(METERED_BY_THEMSELVES)

    @pytest.mark.parametrize(("scope", "attributes"), PARENTS.values(), ids=PARENTS)
    def test_any_other_span_is_a_parent(self, tracing, within, scope, attributes):
        """
        Agents, tools, servers and the application's own spans are not the call, and neither is one of ours.
        """
        outer = within(scope, attributes)
        found = tracing.open()
        assert (found.owned, found.metered) == (True, True)
        assert found.span.parent == outer.get_span_context()

    @pytest.fixture
    def openllmetry(self, monkeypatch):
        """
        Switch on an instrumentor that stands for OpenLLMetry's.
        """

        class AnthropicInstrumentor(BaseInstrumentor):
            def instrumentation_dependencies(self):
                return ()

            def _instrument(self, **_options):
                pass

            def _uninstrument(self, **_options):
                pass

        instrumentor = AnthropicInstrumentor()
        module = SimpleNamespace(AnthropicInstrumentor=AnthropicInstrumentor)
        monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.anthropic", module)
        instrumentor.instrument()
        return instrumentor

    def test_metrics_of_whom_the_native_span_hides(self, tracing, within, openllmetry):
        """
        OpenLLMetry's span lies around anthropic's own; while it is switched on, it records the tokens.
        """
        within("com.anthropic.sdk.python", CHAT)
        assert not tracing.open("anthropic").metered
        openllmetry.uninstrument()
        assert tracing.open("anthropic").metered

    @pytest.mark.usefixtures("openllmetry")
    def test_metrics_of_whom_sampling_hides(self, tracing):
        """
        A peer's span that is not sampled cannot be told from any other, but who is switched on records the tokens.
        """
        unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("otel_llm")
        opened = [
            open_span(unsampled, "chat", STARTED | {"gen_ai.provider.name": provider}, 1)
            for provider in ("anthropic", "openai")
        ]
        assert [found.metered for found in opened] == [False, True]
        assert tracing.open("anthropic").metered

    def test_nothing_around(self, tracing):
        """
        Alone, a call is a span without parent.
        """
        found = tracing.open()
        assert (found.owned, found.span.parent) == (True, None)

    def test_ended_span_describes_no_call(self, tracing, within):
        """
        A span that has ended can be told nothing more.
        """
        within("opentelemetry.instrumentation.genai.openai", CHAT).end()
        assert tracing.open().owned

    @pytest.mark.parametrize(
        "key",
        [
            "opentelemetry.genai.client.inference.context",
            "opentelemetry.genai.client.embedding.context",
            "opentelemetry.genai.client.fetch_response.context",
            "suppress_language_model_instrumentation",
        ],
    )
    def test_context_keys_claim_the_call(self, tracing, within_context, key):
        """
        Who says in the context that the call is his gets no second span and no second metric, sampled or not.
        """
        within_context(key, True)
        found = tracing.open()
        assert (found.owned, found.metered) == (False, False)

    @pytest.mark.parametrize("key", SUPPRESSION, ids=["older", "newer"])
    def test_silence_is_kept(self, tracing, within_context, key):
        """
        Suppressed instrumentation captures nothing.
        """
        within_context(key, True)
        assert tracing.open() is None

    @pytest.mark.parametrize("key", SUPPRESSION, ids=["older", "newer"])
    def test_logfire_suppresses_only_what_is_below(self, tracing, within, within_context, key):
        """
        Suppression inside a call's own span is that instrumentation's way of working: enrich, and make the record.
        """
        outer = within("logfire.openai", CHAT)
        within_context(key, True)
        found = tracing.open()
        assert (found.span, found.owned, found.metered) == (outer, False, False)

    def test_suppression_below_the_application_is_silence(self, tracing, within, within_context):
        """
        A span of the application around a suppressed call changes nothing: silence was asked for.
        """
        within("app", {})
        within_context("suppress_instrumentation", True)
        assert tracing.open() is None


class TestOwnSpan:
    def test_a_success(self, tracing, full_call, full_cost):
        """
        Our span is a client's, lasts as long as the call, carries what was given and leaves the status unset.
        """
        opened = tracing.open()
        close_span(opened, outcome(full_call), lambda: described(full_call, full_cost), None)
        (span,) = tracing.ended
        assert (span.name, span.kind, span.status.status_code) == ("chat gpt-4o", SpanKind.CLIENT, StatusCode.UNSET)
        assert (span.start_time, span.end_time) == (1_000, full_call.started_ns + full_call.duration_ns)
        assert dict(span.attributes) == STARTED | described(full_call, full_cost)

    def test_a_failure(self, tracing, make_call):
        """
        A failure sets the status and says why.
        """
        call = make_call(status="error", failure=Failure("server_error"))
        unpriced = described(call, Cost.unknown("?"))
        close_span(tracing.open(), outcome(call), lambda: unpriced, "The server had an error.")
        (span,) = tracing.ended
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "The server had an error.")
        assert span.attributes["error.type"] == "server_error"

    def test_a_cancelled_stream_is_no_error(self, tracing, make_call):
        """
        Who stops reading has not failed.
        """
        close_span(tracing.open(), outcome(make_call(status="cancelled")), dict, None)
        assert tracing.ended[0].status.status_code is StatusCode.UNSET

    def test_unsampled(self, full_call, full_cost):
        """
        A span that is not sampled is ended without being told anything.
        """
        tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("otel_llm")
        opened = open_span(tracer, "chat", STARTED, 1)
        assert opened.owned
        close_span(opened, outcome(full_call), lambda: described(full_call, full_cost), None)


class TestSomebodyElsesSpan:
    def test_enrichment(self, tracing, within, full_call, full_cost):
        """
        Cost, cache, attempts and labels are added; what the span says itself is left as it is, and it is not ended.
        """
        theirs = CHAT | {"gen_ai.usage.cache_read.input_tokens": 99, "http.response.status_code": 201}
        outer = within("opentelemetry.instrumentation.genai.openai", theirs)
        close_span(tracing.open(), outcome(full_call), lambda: described(full_call, full_cost), None)
        assert tracing.ended == ()
        assert dict(outer.attributes) == theirs | {
            "gen_ai.usage.cache_write.input_tokens": 4,
            "gen_ai.usage.cost": 0.055,
            "operation.cost": 0.055,
            "otel_llm.attempts": 3,
            "otel_llm.cost.source": "book",
            "otel_llm.label.team": "search",
            "otel_llm.usage_source": "provider",
        }

    def test_failure_is_theirs_to_tell(self, tracing, within, make_call):
        """
        The status of a span is set by who opened it.
        """
        outer = within("openinference.instrumentation.openai", {"openinference.span.kind": "LLM"})
        close_span(tracing.open(), outcome(make_call(status="error", failure=Failure("x"))), dict, "words")
        assert outer.status.status_code is StatusCode.UNSET

    def test_attempts_are_told_at_once(self, tracing, within):
        """
        Their span may end before the call does, so it hears of each attempt.
        """
        outer = within("opentelemetry.instrumentation.genai.openai", CHAT)
        opened = tracing.open()
        note_attempt(opened, 1, 429)
        note_attempt(opened, 2, None)
        assert (outer.attributes["otel_llm.attempts"], outer.attributes["http.response.status_code"]) == (2, 429)

    def test_ended_span_is_left_alone(self, tracing, within, full_call, full_cost, caplog):
        """
        Nothing is written on a span that has ended: the SDK would complain.
        """
        outer = within("opentelemetry.instrumentation.genai.openai", CHAT)
        opened = tracing.open()
        outer.end()
        note_attempt(opened, 1, 200)
        close_span(opened, outcome(full_call), lambda: described(full_call, full_cost), None)
        assert (dict(outer.attributes), caplog.records) == (CHAT, [])


LIMITS = {
    "none set": SpanLimits(),
    "few attributes": SpanLimits(max_span_attributes=8),
    "just enough": SpanLimits(max_span_attributes=128, max_attributes=4),
    "short values": SpanLimits(max_span_attribute_length=3),
    "unlimited": SpanLimits(max_span_attributes=SpanLimits.UNSET, max_attributes=SpanLimits.UNSET),
}


class TestAttributes:
    @pytest.mark.parametrize("tell", [NOW, LATER], ids=["now", "later"])
    @pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
    def test_a_span_holds_what_the_sdk_would_make_it_hold(self, full_call, full_cost, limits, tell):
        """
        Attributes that are set without the SDK's cleaning look as if cleaned, and keep to the operator's limits.
        """
        tracing, attributes = Tracing(limits), described(full_call, full_cost)
        cleaned = tracing.provider.get_tracer("otel_llm").start_span("by the SDK", attributes=STARTED)
        cleaned.set_attributes(attributes)
        cleaned.end()
        close_span(tracing.open(), outcome(full_call), lambda: attributes, None, tell)
        theirs, ours = tracing.ended
        assert dict(ours.attributes) == dict(theirs.attributes)
        assert ours.dropped_attributes == theirs.dropped_attributes
        assert {*map(type, ours.attributes.values())} <= {str, int, float, bool, tuple}
