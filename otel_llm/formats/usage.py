"""
The format `usage`: the usage entry of Plexus, one line of a JSONL store.

The timestamp is the call's start. A failed call has `success: false` and says why; a successful one leaves those fields
out. Fields the original lacks (`eventId`, `responseId`, `status`, `eventType`, identity, labels) let a store be summed
up without counting anything twice.
"""

import msgspec
from msgspec import UNSET, Struct, UnsetType

from otel_llm.formats.facts import Facts, milliseconds
from otel_llm.formats.moment import with_milliseconds
from otel_llm.telemetry.event import Event

COST_SOURCES = {"operator": "config", "book": "config", "estimate": "estimated"}
"""Plexus' words for where a price came from; `openrouter` and `provider` are the same in both."""


class Usage(Struct, rename="camel"):
    """
    Token counts; null when the provider told none.
    """

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    cache_creation_tokens: int | None
    reasoning_tokens: int | None


class Cost(Struct, rename="camel"):
    """
    US dollars; null when the price is unknown.
    """

    input_cost: float | None
    output_cost: float | None
    cached_cost: float | None
    cache_creation_cost: float | None
    reasoning_cost: float | None
    total_cost: float | None
    currency: str
    source: str | None


class Metrics(Struct, rename="camel"):
    """
    Clock readings; the last two only of a stream.
    """

    duration_ms: int | None
    ttft_ms: int | None
    tokens_per_second: float | None


class UsageEntry(Struct, rename="camel"):
    """
    The entry.
    """

    id: str
    event_id: str
    timestamp: str
    client_ip: str | None
    api_key: str | None
    api_key_hash: str | None
    api_type: str | None
    target_api_type: str | None
    passthrough: bool
    request_type: str | None
    alias_used: str | None
    requested_model: str | None
    actual_provider: str | None
    actual_model: str | None
    response_id: str | None
    usage: Usage
    usage_source: str | None
    cost: Cost
    metrics: Metrics
    success: bool
    status: str
    event_type: str
    streaming: bool
    retries: int
    user_id: str | None
    session_id: str | None
    project_id: str | None
    org_id: str | None
    labels: dict[str, str]
    error_type: str | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    http_status: int | UnsetType = UNSET
    stack_trace: str | UnsetType = UNSET


def encode(event: Event) -> bytes:
    """
    Give the entry as JSON, without a line end.
    """
    return _to_json(project(event))


_to_json = msgspec.json.Encoder().encode


def project(event: Event) -> UsageEntry:
    """
    Give the entry.
    """
    facts = Facts(event)
    entry = _entry(facts)
    return entry if entry.success else _with_failure(entry, facts)


def _entry(facts: Facts) -> UsageEntry:
    request_model = facts.text("gen_ai.request.model")
    api = facts.text("otel_llm.api.type", "openai.api.type")
    return UsageEntry(
        id=facts.text("otel_llm.request.id") or facts.event.id,
        event_id=facts.event.id,
        timestamp=with_milliseconds(facts.started_ns),
        client_ip=facts.text("client.address"),
        api_key=facts.text("otel_llm.key.name"),
        api_key_hash=facts.text("otel_llm.key.hash"),
        api_type=api,
        target_api_type=facts.text("otel_llm.api.target_type") or api,
        passthrough=facts.attributes.get("otel_llm.passthrough") is not False,
        request_type=facts.operation,
        alias_used=facts.text("otel_llm.route.alias") or request_model,
        requested_model=request_model,
        actual_provider=facts.provider,
        actual_model=facts.text("gen_ai.response.model") or request_model,
        response_id=facts.text("gen_ai.response.id"),
        usage=_usage(facts),
        usage_source=facts.text("otel_llm.usage_source"),
        cost=_cost(facts),
        metrics=_metrics(facts),
        success=facts.succeeded,
        status=facts.status,
        event_type=facts.type,
        streaming=facts.streaming,
        retries=facts.retries,
        user_id=facts.text("user.id"),
        session_id=facts.text("session.id"),
        project_id=facts.text("otel_llm.project.id"),
        org_id=facts.text("otel_llm.org.id"),
        labels=facts.event.labels,
    )


def _usage(facts: Facts) -> Usage:
    return Usage(
        input_tokens=facts.input_tokens,
        output_tokens=facts.output_tokens,
        total_tokens=facts.total_tokens,
        cached_tokens=facts.cache_read_tokens,
        cache_creation_tokens=facts.cache_write_tokens,
        reasoning_tokens=facts.reasoning_tokens,
    )


def _cost(facts: Facts) -> Cost:
    source = facts.text("otel_llm.cost.source")
    return Cost(
        input_cost=facts.number("otel_llm.cost.input"),
        output_cost=facts.number("otel_llm.cost.output"),
        cached_cost=facts.number("otel_llm.cost.cache_read"),
        cache_creation_cost=facts.number("otel_llm.cost.cache_write"),
        reasoning_cost=facts.number("otel_llm.cost.reasoning"),
        total_cost=facts.cost,
        currency="USD",
        source=COST_SOURCES.get(source, source) if source else None,
    )


def _metrics(facts: Facts) -> Metrics:
    return Metrics(milliseconds(facts.duration), milliseconds(facts.first_chunk), facts.tokens_per_second)


def _with_failure(entry: UsageEntry, facts: Facts) -> UsageEntry:
    entry.error_type = facts.error_type or entry.status
    entry.error_message = facts.error_message or UNSET
    entry.http_status = facts.http_status or UNSET
    entry.stack_trace = facts.text("exception.stacktrace") or UNSET
    return entry
