"""
One span per call: our own, or the one that another GenAI instrumentation has already opened.

A span of somebody else's is enriched, never doubled: it gets cost, cache and attempts while it still records.
"""

import os
import sys
from collections.abc import Mapping

from msgspec import Struct
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from otel_llm.capture.outcome import Outcome
from otel_llm.telemetry.late_attributes import NOW, Manner, Rest
from otel_llm.telemetry.record import Attributes
from otel_llm.telemetry.semconv import OPERATION, PROVIDER

SCOPE = "otel_llm"

_NATIVE_SCOPE = "com.anthropic.sdk.python"
"""Of the spans that anthropic's SDK makes itself."""

_GENAI_SCOPES = (
    _NATIVE_SCOPE,
    "opentelemetry.instrumentation.genai.",
    "opentelemetry.instrumentation.openai",
    "opentelemetry.instrumentation.anthropic",
    "opentelemetry.instrumentation.groq",
    "opentelemetry.instrumentation.mistralai",
    "opentelemetry.instrumentation.cohere",
    "opentelemetry.instrumentation.ollama",
    "opentelemetry.instrumentation.bedrock",
    "opentelemetry.instrumentation.google_genai",
    "opentelemetry.instrumentation.together",
    "openinference.instrumentation.",
    "openlit.instrumentation.",
    "logfire.",
)
"""Scopes of instrumentations whose current span is the call itself."""

_METERING_SCOPES = ("opentelemetry.instrumentation.", "openlit.instrumentation.")
"""Those of them that record token metrics themselves."""

_METERING = {
    "openai": (
        ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),  # OpenLLMetry
        ("openlit.instrumentation.openai", "OpenAIInstrumentor"),
    ),
    "anthropic": (
        ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
        ("openlit.instrumentation.anthropic", "AnthropicInstrumentor"),
    ),
}
"""By provider, instrumentors that record metrics and leave no sign in the context besides their span."""

_CALL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
_CALL_KINDS = frozenset({"LLM", "EMBEDDING"})

_OUTER_CALL_KEYS = (
    "opentelemetry.genai.client.inference.context",
    "opentelemetry.genai.client.embedding.context",
    "opentelemetry.genai.client.fetch_response.context",
    "suppress_language_model_instrumentation",
)
"""Context keys by which an outer party says: this call is mine to describe."""

_ENRICHING = ("otel_llm.", "gen_ai.usage.cost", "gen_ai.usage.cache_", "operation.cost", "http.response.status_code")


_NATIVE_SWITCHES = {"ANTHROPIC_OPEN_TELEMETRY": "false"}
"""Environment variables that switch a provider SDK's own spans off, and how."""


def silence_native_spans() -> None:
    """
    Switch off the GenAI spans that provider SDKs make themselves, for clients that are made from now on.
    """
    for name, value in _NATIVE_SWITCHES.items():
        os.environ.setdefault(name, value)


class CallSpan(Struct, frozen=True):
    """
    The span of one call.
    """

    span: Span
    attributes: Attributes
    """What is known of the call when it starts, whoever opened the span."""
    context: Context
    """That in which the span is the current one."""
    owned: bool
    """Whether we opened it, and so end it."""
    metered: bool
    """Whether nobody else records this call's metrics."""


def open_span(tracer: Tracer, name: str, attributes: Attributes, started_ns: int) -> CallSpan | None:
    """
    Open the span of a call, or take the one that describes it already; None when silence was asked for.
    """
    context = otel_context.get_current()
    # Most calls have nothing around them that could describe them already.
    found = _outer_span(context, attributes) if context else _NOBODY
    if found is not _NOBODY:
        return found
    own = tracer.start_span(name, context, SpanKind.CLIENT, attributes, start_time=started_ns)  # type: ignore[arg-type]
    # Not sampled, another instrumentation's span is not to be known for one.
    metered = own.is_recording() or not _metered_above(attributes)
    return CallSpan(own, attributes, set_span_in_context(own, context), owned=True, metered=metered)


def note_attempt(call_span: CallSpan, attempts: int, status: int | None) -> None:
    """
    Tell somebody else's span how often the call was sent; it may end before the call is summed up.
    """
    if call_span.owned or not call_span.span.is_recording():
        return
    attributes: Attributes = {"otel_llm.attempts": attempts}
    if status is not None:
        attributes["http.response.status_code"] = status
    call_span.span.set_attributes(attributes)  # type: ignore[arg-type]


def close_span(call_span: CallSpan, outcome: Outcome, rest: Rest, message: str | None, tell: Manner = NOW) -> None:
    """
    Put what the call was on its span; end it if it is ours.
    """
    span = call_span.span
    if not call_span.owned:
        if span.is_recording():
            span.set_attributes(_enrichment(span, rest()))  # type: ignore[arg-type]
        return
    if span.is_recording():
        tell.to_span(span, rest)
        if outcome.failed:
            span.set_status(Status(StatusCode.ERROR, message))
    span.end(outcome.ended_ns)


def abandon_span(call_span: CallSpan) -> None:
    """
    End our span as it is, unless it has ended.
    """
    if call_span.owned and call_span.span.is_recording():
        call_span.span.end()


def _outer_span(context: Context, attributes: Attributes) -> CallSpan | None:
    """
    Give the span of another party that describes the call; None when silence was asked for.
    """
    span = trace.get_current_span(context)
    scope = _genai_scope(span)
    if context.get("suppress_instrumentation") or context.get(_SUPPRESS_INSTRUMENTATION_KEY):
        # Logfire suppresses around every send of its own call; without a call's span somebody wants silence.
        return CallSpan(span, attributes, context, owned=False, metered=False) if scope is not None else None
    if any(context.get(key) for key in _OUTER_CALL_KEYS):
        return CallSpan(span, attributes, context, owned=False, metered=False)
    if scope is not None:
        hidden = scope.startswith(_NATIVE_SCOPE) and _metered_above(attributes)
        metered = not hidden and not scope.startswith(_METERING_SCOPES)
        return CallSpan(span, attributes, context, owned=False, metered=metered)
    return _NOBODY


def _metered_above(attributes: Attributes) -> bool:
    """
    Tell whether an instrumentation whose span we cannot see records the call's metrics.
    """
    for module, name in _METERING.get(str(attributes.get(PROVIDER)), ()):
        # Asked for by calling the class, the one instrumentor there is would be set up anew.
        active = getattr(getattr(sys.modules.get(module), name, None), "_instance", None)
        if getattr(active, "is_instrumented_by_opentelemetry", False):
            return True
    return False


_NOBODY = CallSpan(trace.INVALID_SPAN, {}, Context(), owned=True, metered=True)


def _enrichment(span: Span, attributes: Mapping[str, object]) -> Attributes:
    present = getattr(span, "attributes", None) or {}
    return {
        name: value
        for name, value in attributes.items()
        if name.startswith(_ENRICHING) and (name not in present or name == "otel_llm.attempts")
    }


def _genai_scope(span: Span) -> str | None:
    """
    Name the instrumentation whose span this is, if the span is a GenAI call; None for any other span.
    """
    if not span.is_recording():
        return None
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", "") or ""
    if scope == SCOPE:
        return None
    if scope.startswith(_GENAI_SCOPES):
        return scope if _is_call(span, default=True) else None
    return scope if _is_call(span, default=False) else None


def _is_call(span: Span, *, default: bool) -> bool:
    """
    Tell a call from an agent or a tool by the attribute's value, not by its presence.
    """
    attributes = getattr(span, "attributes", None) or {}
    operation = attributes.get(OPERATION)
    if operation is not None:
        return operation in _CALL_OPERATIONS
    kind = attributes.get("openinference.span.kind")
    return kind in _CALL_KINDS if kind is not None else default
