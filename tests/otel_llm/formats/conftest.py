"""One event per event type, as the road makes them."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from otel_llm.telemetry.event import EVENT_NAME, Event, Resource, Scope

STARTED = 1_793_700_900_250_000_000
"""2026-11-03T10:15:00.25Z."""

RESOURCE = Resource(
    {"service.name": "shop", "service.version": "4.2.0", "deployment.environment.name": "production"},
    "https://opentelemetry.io/schemas/1.44.0",
)


@pytest.fixture(scope="session")
def events() -> Mapping[str, Event]:
    """
    Give the events of the golden files, by name.
    """
    return {
        "api_call": _event(1, 1.2345, **_CHAT, **_PRICED, **_IDENTITY),
        "streaming": _event(2, 2.5, **_CHAT, **_STREAM),
        "error": _event(3, 0.0805, severity=17, **_REFUSED),
        "rate_limit": _event(4, 7.25, severity=17, **_LIMITED),
        "cache_hit": _event(5, 0.0035, **_CACHED),
        "conversation": _event(6, 1.0, **_CHAT, **_CONTENT),
    }


@pytest.fixture(scope="session")
def make_event() -> Callable[..., Event]:
    """
    Give a function that makes an event of these attributes, without any that the road would add.
    """

    def make(attributes: Mapping[str, Any] = {}, **fields: Any) -> Event:
        base = {"id": "e1", "name": EVENT_NAME, "timestamp_ns": STARTED, "observed_ns": STARTED}
        return Event(**base | {"severity_number": 9, "severity_text": "INFO"} | fields, attributes=dict(attributes))

    return make


def _event(number: int, seconds: float, *, severity: int = 9, **attributes: Any) -> Event:
    event_id = f"01930000-0000-7000-8000-{number:012x}"
    ended = STARTED + round(seconds * 1_000_000_000)
    return Event(
        id=event_id,
        name=EVENT_NAME,
        timestamp_ns=ended,
        observed_ns=ended + 40_000,
        severity_number=severity,
        severity_text="INFO" if severity == 9 else "ERROR",
        attributes={
            "otel_llm.event.id": event_id,
            "otel_llm.start_time_unix_nano": STARTED,
            "otel_llm.duration": seconds,
            **attributes,
        },
        trace_id=f"{number:032x}",
        span_id=f"{number:016x}",
        trace_flags=1,
        resource=RESOURCE,
        scope=Scope("otel_llm", "0.1.0"),
    )


_OPENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "server.address": "api.openai.com",
    "server.port": 443,
    "http.request.method": "POST",
    "url.path": "/v1/chat/completions",
    "http.request.body.size": 412,
    "otel_llm.api.type": "openai_chat",
    "otel_llm.key.name": "checkout",
    "otel_llm.key.hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}

_CHAT = _OPENAI | {
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-A1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
    "gen_ai.usage.cache_read.input_tokens": 400,
    "gen_ai.usage.reasoning.output_tokens": 0,
    "http.response.status_code": 200,
    "http.response.body.size": 980,
    "otel_llm.event.type": "api_call",
    "otel_llm.status": "success",
    "otel_llm.usage_source": "provider",
    "otel_llm.request.id": "req_7d1",
}

# 600 x 2.50 + 400 x 1.25 + 200 x 10.00 USD per million tokens.
_PRICED = {
    "otel_llm.attempts": 2,
    "gen_ai.usage.cost": 0.004,
    "operation.cost": 0.004,
    "otel_llm.cost.input": 0.0015,
    "otel_llm.cost.cache_read": 0.0005,
    "otel_llm.cost.output": 0.002,
    "otel_llm.cost.source": "book",
    "otel_llm.cost.price_version": "2026-10-01",
}

_IDENTITY = {
    "user.id": "u-9",
    "session.id": "s-3",
    "gen_ai.conversation.id": "thread-5",
    "otel_llm.project.id": "p-1",
    "otel_llm.project.name": "Checkout",
    "otel_llm.org.id": "o-2",
    "otel_llm.label.tenant_id": "t1",
    "otel_llm.label.tier": "gold",
}

_STREAM = {
    "gen_ai.request.stream": True,
    "gen_ai.response.time_to_first_chunk": 0.5005,
    "otel_llm.time_to_first_byte": 0.4,
    "otel_llm.attempts": 1,
    "otel_llm.cost.unknown_reason": "no price for openai/gpt-4o",
}

_REFUSED = _OPENAI | {
    "http.response.status_code": 401,
    "error.type": "invalid_api_key",
    "exception.message": "Incorrect API key provided.",
    "exception.type": "openai.AuthenticationError",
    "otel_llm.event.type": "error",
    "otel_llm.status": "error",
    "otel_llm.attempts": 1,
    "otel_llm.usage_source": "absent",
    "otel_llm.request.id": "req_7d2",
}

_LIMITED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "azure.ai.openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "http.response.status_code": 429,
    "error.type": "rate_limit_exceeded",
    "exception.message": "Requests have exceeded the call rate limit.",
    "otel_llm.event.type": "rate_limit",
    "otel_llm.status": "rate_limited",
    "otel_llm.attempts": 3,
    "otel_llm.request.id": "req_7d3",
    "otel_llm.request.parent_id": "req_7d2",
    "otel_llm.is_fallback": True,
    "otel_llm.fallback.index": 1,
    "otel_llm.route.alias": "cheap",
}

_CACHED = _OPENAI | {
    "gen_ai.operation.name": "embeddings",
    "gen_ai.request.model": "text-embedding-3-small",
    "url.path": "/v1/embeddings",
    "otel_llm.api.type": "openai_embeddings",
    "gen_ai.usage.input_tokens": 12,
    "http.response.status_code": 200,
    "otel_llm.event.type": "cache_hit",
    "otel_llm.status": "success",
    "otel_llm.attempts": 1,
    "otel_llm.request.id": "req_7d5",
    "otel_llm.cache.hit": True,
    "otel_llm.cache.type": "semantic",
    "otel_llm.cache.store": "weaviate",
    "otel_llm.cache.similarity": 0.91237,
    "otel_llm.cache.embedding.provider": "openai",
    "gen_ai.usage.cost": 0.0,
    "operation.cost": 0.0,
    "otel_llm.cost.source": "operator",
}

_CONTENT = {
    "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
    "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}],
    "gen_ai.output.messages": [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hi."}], "finish_reason": "stop"}
    ],
    "gen_ai.request.temperature": 0.2,
    "otel_llm.attempts": 1,
}
