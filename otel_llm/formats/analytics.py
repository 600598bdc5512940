"""
The format `analytics`: one flat event per call, in the shape of the Bifrost analytics plugin.

Every field is always there. What nobody told is `""`, `false` or `0` where the shape has no other word for nothing, but
`null` for tokens and durations, and `cost_usd` is left out: an unknown amount is not an amount of nothing.
"""

import msgspec
from msgspec import UNSET, Struct, UnsetType

from otel_llm.formats.facts import Facts, milliseconds
from otel_llm.formats.moment import with_milliseconds
from otel_llm.telemetry.event import Event

REQUEST_TYPES = {"chat": "chat_completion", "embeddings": "embedding"}
"""The plugin's words for operations; every other operation keeps its name."""


class AnalyticsEvent(Struct):
    """
    The flat event.
    """

    event_id: str
    event_type: str
    timestamp: str
    request_id: str
    parent_request_id: str
    is_fallback: bool
    request_type: str
    provider: str
    model: str
    is_streaming: bool
    selected_key_id: str
    selected_key_name: str
    virtual_key_id: str
    virtual_key_name: str
    fallback_index: int
    number_of_retries: int
    status: str
    error_type: str
    error_code: int
    error_message: str
    latency_ms: int | None
    time_to_first_token: int | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_hit: bool
    cache_type: str
    cache_provider: str
    cache_similarity: str
    labels: dict[str, str]
    cost_usd: float | UnsetType = UNSET


def encode(event: Event) -> bytes:
    """
    Give the flat event as JSON.
    """
    return _to_json(project(event))


_to_json = msgspec.json.Encoder().encode


def project(event: Event) -> AnalyticsEvent:
    """
    Give the flat event.
    """
    facts = Facts(event)
    failed = not facts.succeeded
    fallback_index = facts.whole("otel_llm.fallback.index") or 0
    similarity = facts.number("otel_llm.cache.similarity")
    cost = facts.cost
    return AnalyticsEvent(
        event_id=event.id,
        event_type=facts.type,
        timestamp=with_milliseconds(facts.ended_ns),
        request_id=facts.text("otel_llm.request.id") or "",
        parent_request_id=facts.text("otel_llm.request.parent_id") or "",
        is_fallback=facts.is_true("otel_llm.is_fallback") or fallback_index > 0,
        request_type=REQUEST_TYPES.get(facts.operation or "", facts.operation or ""),
        provider=facts.provider or "",
        model=facts.text("gen_ai.request.model", "gen_ai.response.model") or "",
        is_streaming=facts.streaming,
        selected_key_id=facts.text("otel_llm.key.id") or "",
        selected_key_name=facts.text("otel_llm.key.name") or "",
        virtual_key_id=facts.text("otel_llm.virtual_key.id") or "",
        virtual_key_name=facts.text("otel_llm.virtual_key.name") or "",
        fallback_index=fallback_index,
        number_of_retries=facts.retries,
        status="error" if failed else "success",
        error_type=facts.error_type or "",
        error_code=(facts.http_status or 0) if failed else 0,
        error_message=facts.error_message or "",
        latency_ms=milliseconds(facts.duration),
        time_to_first_token=milliseconds(facts.first_chunk),
        input_tokens=facts.input_tokens,
        output_tokens=facts.output_tokens,
        total_tokens=facts.total_tokens,
        cache_read_input_tokens=facts.cache_read_tokens,
        cache_creation_input_tokens=facts.cache_write_tokens,
        cache_hit=facts.is_true("otel_llm.cache.hit"),
        cache_type=facts.text("otel_llm.cache.type") or "",
        cache_provider=facts.text("otel_llm.cache.store", "otel_llm.cache.embedding.provider") or "",
        cache_similarity="" if similarity is None else f"{similarity:.4f}",
        labels=event.labels,
        cost_usd=UNSET if cost is None else cost,
    )
