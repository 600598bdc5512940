"""The seeds' shapes hold for every event, however little it tells."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_llm.formats import FORMATS
from otel_llm.telemetry.event import Event, Resource

Shape = dict[str, Any]

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MISSING = object()

ANALYTICS: Shape = {
    "event_id": str,
    "event_type": {"api_call", "error", "cache_hit", "rate_limit"},
    "timestamp": MOMENT,
    "request_id": str,
    "parent_request_id": str,
    "is_fallback": bool,
    "request_type": str,
    "provider": str,
    "model": str,
    "is_streaming": bool,
    "selected_key_id": str,
    "selected_key_name": str,
    "virtual_key_id": str,
    "virtual_key_name": str,
    "fallback_index": int,
    "number_of_retries": int,
    "status": {"success", "error"},
    "error_type": str,
    "error_code": int,
    "error_message": str,
    "latency_ms": (int, None),
    "time_to_first_token": (int, None),
    "input_tokens": (int, None),
    "output_tokens": (int, None),
    "total_tokens": (int, None),
    "cache_read_input_tokens": (int, None),
    "cache_creation_input_tokens": (int, None),
    "cache_hit": bool,
    "cache_type": str,
    "cache_provider": str,
    "cache_similarity": re.compile(r"|-?\d+\.\d{4}"),
    "labels": {},
    "cost_usd": (float, MISSING),
}

GATEWAY_LOG: Shape = {
    "timestamp": MOMENT,
    "resource": {"service.name": str, "service.version": str, "deployment.environment": str},
    "name": {"ai_gateway_request_log"},
    "attributes": {
        "id": re.compile("msg_.*", re.DOTALL),
        "thread_id": (str, None),
        "org_id": (str, None),
        "user_id": (str, None),
        "project_id": (str, None),
        "provider": (str, None),
        "model": (str, None),
        "request": (dict, None),
        "response": (dict, None),
        "metadata": {
            "project_id": (str, None),
            "project_name": (str, None),
            "latency": (int, None),
            "ttfb": (int, None),
            "provider_latency": (int, None),
            "tokens": {"input": (int, None), "output": (int, None), "total": (int, None)},
            "cost": (float, None),
            "status": {"success", "error"},
            "path": (str, None),
            "method": (str, None),
            "request_size": (int, None),
            "response_size": (int, None),
            "status_code": int,
            "provider_status_code": int,
            "error_count": int,
            "error_type": (str, None),
            "provider_error_count": int,
            "provider_error_type": (str, None),
            "provider_request_id": (str, None),
        },
    },
}

USAGE: Shape = {
    "id": str,
    "timestamp": MOMENT,
    "clientIp": (str, None),
    "apiKey": (str, None),
    "apiType": (str, None),
    "targetApiType": (str, None),
    "passthrough": bool,
    "aliasUsed": (str, None),
    "actualProvider": (str, None),
    "actualModel": (str, None),
    "usage": {
        "inputTokens": (int, None),
        "outputTokens": (int, None),
        "totalTokens": (int, None),
        "cachedTokens": (int, None),
        "reasoningTokens": (int, None),
    },
    "cost": {
        "inputCost": (float, None),
        "outputCost": (float, None),
        "cachedCost": (float, None),
        "reasoningCost": (float, None),
        "totalCost": (float, None),
        "currency": {"USD"},
        "source": (str, None),
    },
    "metrics": {"durationMs": (int, None), "ttftMs": (int, None), "tokensPerSecond": (float, None)},
    "success": bool,
    "streaming": bool,
    "errorType": (str, MISSING),
    "errorMessage": (str, MISSING),
    "httpStatus": (int, MISSING),
    "stackTrace": (str, MISSING),
}

TEXTS = [
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model",
    "gen_ai.response.id", "gen_ai.conversation.id", "user.id", "session.id", "error.type", "exception.message",
    "exception.stacktrace", "http.request.method", "url.path", "client.address", "otel_llm.api.type",
    "otel_llm.cache.type", "otel_llm.cache.store", "otel_llm.cost.source", "otel_llm.key.id", "otel_llm.key.name",
    "otel_llm.key.hash", "otel_llm.virtual_key.id", "otel_llm.virtual_key.name", "otel_llm.label.tenant_id",
    "otel_llm.org.id", "otel_llm.project.id", "otel_llm.project.name", "otel_llm.request.id",
    "otel_llm.request.parent_id", "otel_llm.route.alias",
]  # fmt: skip
WHOLES = [
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.reasoning.output_tokens", "http.request.body.size",
    "http.response.body.size", "http.response.status_code", "otel_llm.attempts", "otel_llm.fallback.index",
]  # fmt: skip
NUMBERS = [
    "gen_ai.usage.cost", "otel_llm.cost.input", "otel_llm.cost.output", "otel_llm.cost.cache_read",
    "otel_llm.cost.reasoning", "otel_llm.duration", "otel_llm.time_to_first_byte", "otel_llm.tokens_per_second",
    "gen_ai.response.time_to_first_chunk", "otel_llm.cache.similarity",
]  # fmt: skip
FLAGS = ["gen_ai.request.stream", "otel_llm.cache.hit", "otel_llm.is_fallback", "otel_llm.passthrough"]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
whole = st.integers(0, 2**53)
number = st.floats(0, 1e6)
odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), text, st.lists(text, max_size=2)
)


def attributes(values: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    groups = ((TEXTS, text), (WHOLES, whole), (NUMBERS, number), (FLAGS, st.booleans()))
    of_its_type = {name: strategy for names, strategy in groups for name in names}
    return st.fixed_dictionaries({}, optional=of_its_type if values is None else dict.fromkeys(of_its_type, values))


events = st.builds(
    Event,
    id=st.uuids().map(str),
    name=text,
    timestamp_ns=st.integers(0, 2**62),
    observed_ns=st.integers(0, 2**62),
    severity_number=st.integers(0, 24),
    severity_text=text,
    attributes=attributes() | attributes(odd),
    resource=st.builds(Resource, st.dictionaries(st.sampled_from(["service.name", "service.version"]), text)),
)


@given(events)
def test_analytics_has_every_field_of_its_seed(event):
    """
    The flat event has all its fields, each of its type, whatever the record left out or garbled.
    """
    document = json.loads(FORMATS["analytics"].encode(event))
    assert_shape(ANALYTICS, document)
    assert set(document) <= set(ANALYTICS)


@given(events)
def test_gateway_log_has_every_field_of_its_seed(event):
    """
    The log document has all its fields, each of its type, whatever the record left out or garbled.
    """
    assert_shape(GATEWAY_LOG, json.loads(FORMATS["gateway_log"].encode(event)))


@given(events)
def test_usage_has_every_field_of_its_seed(event):
    """
    The usage entry has all its fields, each of its type, whatever the record left out or garbled.
    """
    assert_shape(USAGE, json.loads(FORMATS["usage"].encode(event)))


def assert_shape(shape: Shape, document: dict[str, Any]) -> None:
    for name, expected in shape.items():
        assert fits(expected, document.get(name, MISSING)), (name, document.get(name, "missing"))


def fits(expected: Any, value: Any) -> bool:
    if isinstance(expected, tuple):
        return any(fits(one, value) for one in expected)
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and expected.fullmatch(value) is not None
    if isinstance(expected, set):
        return value in expected
    if isinstance(expected, dict):
        assert_shape(expected, value)
        return isinstance(value, dict)
    if expected is None or expected is MISSING:
        return value is expected
    return type(value) is expected
