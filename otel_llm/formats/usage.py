"""
The format `usage`: the usage entry of Plexus, one line of a JSONL store.

The timestamp is the call's start. A failed call has `success: false` and says why; a successful one leaves those fields
out. Fields the original lacks (`eventId`, `responseId`, `status`, `eventType`, identity, labels) let a store be summed
up without counting anything twice.
"""

from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from otel_llm.formats.facts import Facts, Number, Text, Whole, milliseconds
from otel_llm.formats.moment import with_milliseconds
from otel_llm.telemetry.event import Event

T = TypeVar("T")

COST_SOURCES = {"operator": "config", "book": "config", "estimate": "estimated"}
"""Plexus' words for where a price came from; `openrouter` and `provider` are the same in both."""


class Told(Struct, gc=False):
    """
    What the entry repeats of a record's attributes.
    """

    request_id: Text = field(default=None, name="otel_llm.request.id")
    request_model: Text = field(default=None, name="gen_ai.request.model")
    response_model: Text = field(default=None, name="gen_ai.response.model")
    response_id: Text = field(default=None, name="gen_ai.response.id")
    operation: Text = field(default=None, name="gen_ai.operation.name")
    api: Text = field(default=None, name="otel_llm.api.type")
    openai_api: Text = field(default=None, name="openai.api.type")
    target_api: Text = field(default=None, name="otel_llm.api.target_type")
    alias: Text = field(default=None, name="otel_llm.route.alias")
    client: Text = field(default=None, name="client.address")
    key_name: Text = field(default=None, name="otel_llm.key.name")
    key_hash: Text = field(default=None, name="otel_llm.key.hash")
    user: Text = field(default=None, name="user.id")
    session: Text = field(default=None, name="session.id")
    project: Text = field(default=None, name="otel_llm.project.id")
    org: Text = field(default=None, name="otel_llm.org.id")
    usage_source: Text = field(default=None, name="otel_llm.usage_source")
    input: Whole = field(default=None, name="gen_ai.usage.input_tokens")
    prompt: Whole = field(default=None, name="gen_ai.usage.prompt_tokens")
    output: Whole = field(default=None, name="gen_ai.usage.output_tokens")
    completion: Whole = field(default=None, name="gen_ai.usage.completion_tokens")
    cache_read: Whole = field(default=None, name="gen_ai.usage.cache_read.input_tokens")
    cache_write: Whole = field(default=None, name="gen_ai.usage.cache_write.input_tokens")
    cache_creation: Whole = field(default=None, name="gen_ai.usage.cache_creation.input_tokens")
    reasoning: Whole = field(default=None, name="gen_ai.usage.reasoning.output_tokens")
    cost: Number = field(default=None, name="gen_ai.usage.cost")
    operation_cost: Number = field(default=None, name="operation.cost")
    input_cost: Number = field(default=None, name="otel_llm.cost.input")
    output_cost: Number = field(default=None, name="otel_llm.cost.output")
    cache_read_cost: Number = field(default=None, name="otel_llm.cost.cache_read")
    cache_write_cost: Number = field(default=None, name="otel_llm.cost.cache_write")
    reasoning_cost: Number = field(default=None, name="otel_llm.cost.reasoning")
    cost_source: Text = field(default=None, name="otel_llm.cost.source")


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
    told = facts.told(Told)
    status = facts.status
    api = told.api or told.openai_api
    return UsageEntry(
        id=told.request_id or event.id,
        event_id=event.id,
        timestamp=with_milliseconds(facts.started_ns),
        client_ip=told.client,
        api_key=told.key_name,
        api_key_hash=told.key_hash,
        api_type=api,
        target_api_type=told.target_api or api,
        passthrough=facts.attributes.get("otel_llm.passthrough") is not False,
        request_type=told.operation,
        alias_used=told.alias or told.request_model,
        requested_model=told.request_model,
        actual_provider=facts.provider,
        actual_model=told.response_model or told.request_model,
        response_id=told.response_id,
        usage=_usage(told),
        usage_source=told.usage_source,
        cost=_cost(told),
        metrics=_metrics(facts),
        success=status == "success",
        status=status,
        event_type=facts.type,
        streaming=facts.streaming,
        retries=facts.retries,
        user_id=told.user,
        session_id=told.session,
        project_id=told.project,
        org_id=told.org,
        labels=event.labels,
    )


def _usage(told: Told) -> Usage:
    put_in, put_out = _first(told.input, told.prompt), _first(told.output, told.completion)
    total = None if put_in is None and put_out is None else (put_in or 0) + (put_out or 0)
    return Usage(put_in, put_out, total, told.cache_read, _first(told.cache_write, told.cache_creation), told.reasoning)


def _cost(told: Told) -> Cost:
    source = told.cost_source
    return Cost(
        told.input_cost,
        told.output_cost,
        told.cache_read_cost,
        told.cache_write_cost,
        told.reasoning_cost,
        _first(told.cost, told.operation_cost),
        "USD",
        COST_SOURCES.get(source, source) if source else None,
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
