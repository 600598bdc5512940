"""
The format `usage`: the usage entry of Plexus, one line of a JSONL store.

The timestamp is the call's start. A failed call has `success: false` and says why; a successful one leaves those fields
out. Fields the original lacks (`eventId`, `responseId`, `status`, `eventType`, identity, labels) let a store be summed
up without counting anything twice.
"""

from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from otel_llm.formats.facts import Facts, milliseconds
from otel_llm.formats.moment import with_milliseconds
from otel_llm.telemetry.event import Event

T = TypeVar("T")

COST_SOURCES = {"operator": "config", "book": "config", "estimate": "estimated"}
"""Plexus' words for where a price came from; `openrouter` and `provider` are the same in both."""


class Usage(Struct, rename="camel", gc=False):
    """
    Token counts; null when the provider told none.
    """

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    cache_creation_tokens: int | None
    reasoning_tokens: int | None


class Cost(Struct, rename="camel", gc=False):
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


class Metrics(Struct, rename="camel", gc=False):
    """
    Clock readings; the last two only of a stream.
    """

    duration_ms: int | None
    ttft_ms: int | None
    tokens_per_second: float | None


class UsageEntry(Struct, rename="camel", gc=False):
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
    event = facts.event
    request_id, request_model, response_model, api, openai_api, target_api, alias, *as_they_are = facts.texts(_TEXTS)
    client, key_name, key_hash, operation, response_id, usage_source, user, session, project_id, org = as_they_are
    status = facts.status
    api = api or openai_api
    return UsageEntry(
        id=request_id or event.id,
        event_id=event.id,
        timestamp=with_milliseconds(facts.started_ns),
        client_ip=client,
        api_key=key_name,
        api_key_hash=key_hash,
        api_type=api,
        target_api_type=target_api or api,
        passthrough=facts.attributes.get("otel_llm.passthrough") is not False,
        request_type=operation,
        alias_used=alias or request_model,
        requested_model=request_model,
        actual_provider=facts.provider,
        actual_model=response_model or request_model,
        response_id=response_id,
        usage=_usage(facts),
        usage_source=usage_source,
        cost=_cost(facts),
        metrics=_metrics(facts),
        success=status == "success",
        status=status,
        event_type=facts.type,
        streaming=facts.streaming,
        retries=facts.retries,
        user_id=user,
        session_id=session,
        project_id=project_id,
        org_id=org,
        labels=event.labels,
    )


_TEXTS = (
    "otel_llm.request.id",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "otel_llm.api.type",
    "openai.api.type",
    "otel_llm.api.target_type",
    "otel_llm.route.alias",
    "client.address",
    "otel_llm.key.name",
    "otel_llm.key.hash",
    "gen_ai.operation.name",
    "gen_ai.response.id",
    "otel_llm.usage_source",
    "user.id",
    "session.id",
    "otel_llm.project.id",
    "otel_llm.org.id",
)


def _usage(facts: Facts) -> Usage:
    put_in, prompt, put_out, completion, cached, written, created, reasoning = facts.wholes(_COUNTS)
    put_in, put_out = _first(put_in, prompt), _first(put_out, completion)
    total = None if put_in is None and put_out is None else (put_in or 0) + (put_out or 0)
    return Usage(put_in, put_out, total, cached, _first(written, created), reasoning)


_COUNTS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
)


def _cost(facts: Facts) -> Cost:
    source = facts.text("otel_llm.cost.source")
    total, operation, put_in, put_out, cached, written, reasoning = facts.numbers(_AMOUNTS)
    paid = _first(total, operation)
    source = COST_SOURCES.get(source, source) if source else None
    return Cost(put_in, put_out, cached, written, reasoning, paid, "USD", source)


_AMOUNTS = (
    "gen_ai.usage.cost",
    "operation.cost",
    "otel_llm.cost.input",
    "otel_llm.cost.output",
    "otel_llm.cost.cache_read",
    "otel_llm.cost.cache_write",
    "otel_llm.cost.reasoning",
)


def _first(told: T | None, otherwise: T | None) -> T | None:
    return otherwise if told is None else told


def _metrics(facts: Facts) -> Metrics:
    return Metrics(milliseconds(facts.duration), milliseconds(facts.first_chunk), facts.tokens_per_second)


def _with_failure(entry: UsageEntry, facts: Facts) -> UsageEntry:
    entry.error_type = facts.error_type or entry.status
    entry.error_message = facts.error_message or UNSET
    entry.http_status = facts.http_status or UNSET
    entry.stack_trace = facts.text("exception.stacktrace") or UNSET
    return entry
