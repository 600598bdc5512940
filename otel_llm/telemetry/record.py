"""
`Call` and `Cost` spelled as attributes.

`described` is what span and record share, `recorded` what only the record carries; together with the attributes a span
starts with, the record is complete by itself.
"""

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any

from msgspec import Struct, defstruct, to_builtins
from msgspec.structs import astuple

from otel_llm.call import Attempt, Call, Failure, Parameters, RateLimit, Usage
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.redaction import Redactor
from otel_llm.telemetry.semconv import (
    ERROR_TYPE,
    EVENT_ID,
    HTTP_STATUS,
    OPENAI_API_TYPES,
    OPENAI_PROVIDERS,
    OPERATION,
    PARAMETERS,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SERVER_ADDRESS,
    SERVER_PORT,
    USAGE,
)

Attributes = dict[str, object]

MAX_MESSAGE = 2_000
"""Characters kept of an error message."""

_MOST_READ = 100_000
"""Characters looked at, so that no credential is cut in two before it is known for one."""


def started(operation: str, provider: str, model: str | None, address: str | None, port: int | None) -> Attributes:
    """
    Give what is known when a call starts, for samplers.
    """
    attributes: Attributes = {OPERATION: operation, PROVIDER: provider}
    if model is not None:
        attributes[REQUEST_MODEL] = model
    if address is not None:
        attributes[SERVER_ADDRESS] = address
        if port is not None:
            attributes[SERVER_PORT] = port
    return attributes


def described(call: Call, cost: Cost) -> Attributes:
    """
    Give what a finished call's span and record both carry.
    """
    identity, parameters = call.identity, call.parameters
    of_openai = call.provider in OPENAI_PROVIDERS
    row = _Shared(
        max(len(call.attempts), 1),
        *_asked(parameters),
        None if parameters.choice_count == 1 else parameters.choice_count,
        *_counted(call.usage),
        call.usage_source,
        call.response_model,
        call.response_id,
        call.response_status,
        call.http_status,
        call.finish_reasons or None,
        call.stream or None,
        call.first_chunk_ns / 1e9 if call.stream and call.first_chunk_ns is not None else None,
        None if call.failure is None else call.failure.type,
        identity.user_id,
        identity.session_id,
        identity.conversation_id,
        OPENAI_API_TYPES.get(call.api) if of_openai else None,
        call.service_tier if of_openai else None,
        call.system_fingerprint if of_openai else None,
        parameters.service_tier if of_openai and parameters.service_tier != "auto" else None,
    )
    attributes: Attributes = to_builtins(row)
    for name, value in call.labels.items():
        attributes[f"otel_llm.label.{name}"] = value
    _put_total(attributes, cost)
    return attributes


def recorded(call: Call, cost: Cost, event_id: str, redactor: Redactor) -> Attributes:
    """
    Give what only the record carries.
    """
    identity, usage = call.identity, call.usage
    row = _Own(
        event_id,
        event_type(call),
        call.status,
        call.started_ns,
        call.duration_ns / 1e9,
        call.request_id or event_id,
        call.api,
        call.method,
        call.path,
        call.request_bytes,
        call.response_bytes,
        None if call.first_byte_ns is None else call.first_byte_ns / 1e9,
        _tokens_per_second(call) if call.stream else None,
        identity.project_id,
        identity.project_name,
        identity.org_id,
        identity.experiment_id,
        call.parent_request_id,
        call.fallback_index,
        call.route_alias,
        usage.cache_write_1h_tokens,
        usage.web_searches,
        *astuple(call.key),
        None if call.parent_request_id is None else True,
        *_NO_RATE_LIMIT if call.rate_limit is None else astuple(call.rate_limit),
    )
    attributes: Attributes = to_builtins(row)
    _put_cost(attributes, cost)
    if len(call.attempts) > 1:
        attributes["otel_llm.attempt_log"] = list(map(_attempt, call.attempts))
    if call.cache is not None:
        attributes |= to_builtins(_Cached(*astuple(call.cache)))
    if call.failure is not None:
        attributes |= _failed(call.failure, redactor)
    return attributes


def priced(attributes: Attributes, cost: Cost) -> Attributes:
    """
    Give a record's attributes with another cost.
    """
    kept = {name: value for name, value in attributes.items() if name not in _COST_NAMES}
    _put_total(kept, cost)
    _put_cost(kept, cost)
    return kept


def call_of(attributes: Attributes) -> Call:
    """
    Give the call that a record describes, as far as its price depends on it.
    """
    get: Any = attributes.get
    usage = {field: get(name) for field, name in _BILLED.items() if get(name) is not None}
    return Call(
        operation=get(OPERATION),
        provider=get(PROVIDER),
        api=get("otel_llm.api.type") or "",
        started_ns=get("otel_llm.start_time_unix_nano") or 0,
        duration_ns=0,
        status="success",
        request_model=get(REQUEST_MODEL),
        response_model=get(RESPONSE_MODEL),
        usage=Usage(**usage),
        usage_source=get("otel_llm.usage_source") or "absent",
        service_tier=get("openai.response.service_tier"),
        parameters=Parameters(service_tier=get("openai.request.service_tier")),
    )


def event_type(call: Call) -> str:
    """
    Give the event type of a call (requirements B-104).
    """
    if call.cache is not None and call.cache.hit:
        return "cache_hit"
    if call.status == "rate_limited":
        return "rate_limit"
    return "error" if call.failure is not None else "api_call"


def _row(*names: str) -> Callable[..., Struct]:
    """
    Give a struct whose `to_builtins` puts names to its values, in their order, and leaves out the absent ones.

    msgspec does it several times as fast as a loop could.
    """
    fields = {f"value_{at}": name for at, name in enumerate(names)}
    return defstruct("Row", [(field, Any, None) for field in fields], rename=fields, omit_defaults=True, gc=False)


_ASKED = {field: name for field, name in PARAMETERS.items() if name is not None}
_COUNTED = {field: name for field, name in USAGE.items() if name is not None}
_asked = attrgetter(*_ASKED)
_counted = attrgetter(*_COUNTED)

_Shared = _row(
    "otel_llm.attempts",
    *_ASKED.values(),
    "gen_ai.request.choice.count",
    *_COUNTED.values(),
    "otel_llm.usage_source",
    RESPONSE_MODEL,
    "gen_ai.response.id",
    "gen_ai.response.status",
    HTTP_STATUS,
    "gen_ai.response.finish_reasons",
    "gen_ai.request.stream",
    "gen_ai.response.time_to_first_chunk",
    ERROR_TYPE,
    "user.id",
    "session.id",
    "gen_ai.conversation.id",
    "openai.api.type",
    "openai.response.service_tier",
    "openai.response.system_fingerprint",
    "openai.request.service_tier",
)
_Own = _row(
    EVENT_ID,
    "otel_llm.event.type",
    "otel_llm.status",
    "otel_llm.start_time_unix_nano",
    "otel_llm.duration",
    "otel_llm.request.id",
    "otel_llm.api.type",
    "http.request.method",
    "url.path",
    "http.request.body.size",
    "http.response.body.size",
    "otel_llm.time_to_first_byte",
    "otel_llm.tokens_per_second",
    "otel_llm.project.id",
    "otel_llm.project.name",
    "otel_llm.org.id",
    "otel_llm.experiment.id",
    "otel_llm.request.parent_id",
    "otel_llm.fallback.index",
    "otel_llm.route.alias",
    "otel_llm.cache_write_1h_tokens",
    "otel_llm.web_searches",
    "otel_llm.key.id",
    "otel_llm.key.name",
    "otel_llm.key.hash",
    "otel_llm.virtual_key.id",
    "otel_llm.virtual_key.name",
    "otel_llm.is_fallback",
    "otel_llm.ratelimit.requests.limit",
    "otel_llm.ratelimit.requests.remaining",
    "otel_llm.ratelimit.requests.reset",
    "otel_llm.ratelimit.tokens.limit",
    "otel_llm.ratelimit.tokens.remaining",
    "otel_llm.ratelimit.tokens.reset",
)
_Cached = _row(
    "otel_llm.cache.hit",
    "otel_llm.cache.type",
    "otel_llm.cache.store",
    "otel_llm.cache.similarity",
    "otel_llm.cache.threshold",
    "otel_llm.cache.embedding.provider",
    "otel_llm.cache.embedding.model",
    "otel_llm.cache.embedding.input_tokens",
)
_Attempted = _row("seconds", "status", "request_id", "retry_after", "error_type")

_NO_RATE_LIMIT = astuple(RateLimit())

_COST_PARTS = {
    "otel_llm.cost.input": "input",
    "otel_llm.cost.output": "output",
    "otel_llm.cost.cache_read": "cache_read",
    "otel_llm.cost.cache_write": "cache_write",
    "otel_llm.cost.reasoning": "reasoning",
    "otel_llm.cost.audio": "audio",
    "otel_llm.cost.image": "image",
    "otel_llm.cost.tools": "tools",
    "otel_llm.cost.embedding": "embedding",
    "otel_llm.cost.requests": "requests",
    "otel_llm.cost.discount": "discount",
}

_Costs = _row(*_COST_PARTS)
_cost_parts = attrgetter(*_COST_PARTS.values())

_COST_NAMES = frozenset(
    {
        *_COST_PARTS,
        "gen_ai.usage.cost",
        "operation.cost",
        "otel_llm.cost.source",
        "otel_llm.cost.price_version",
        "otel_llm.cost.unknown_reason",
    }
)
_BILLED = _COUNTED | {
    "cache_write_1h_tokens": "otel_llm.cache_write_1h_tokens",
    "web_searches": "otel_llm.web_searches",
}


def _put_total(attributes: Attributes, cost: Cost) -> None:
    if cost.total is not None:
        attributes["gen_ai.usage.cost"] = attributes["operation.cost"] = float(cost.total)
        attributes["otel_llm.cost.source"] = cost.source


def _put_cost(attributes: Attributes, cost: Cost) -> None:
    amounts = to_builtins(_Costs(*_cost_parts(cost)), builtin_types=(Decimal,))
    for name, amount in amounts.items():
        attributes[name] = float(amount)
    if cost.price_version is not None:
        attributes["otel_llm.cost.price_version"] = cost.price_version
    if cost.unknown_reason is not None:
        attributes["otel_llm.cost.unknown_reason"] = cost.unknown_reason


def _tokens_per_second(call: Call) -> float | None:
    """
    Give output tokens per second between the first content chunk and the end (requirements 2.4).
    """
    if call.first_chunk_ns is None or call.usage.output_tokens is None:
        return None
    elapsed = call.duration_ns - call.first_chunk_ns
    return call.usage.output_tokens / (elapsed / 1e9) if elapsed > 0 else None


def _attempt(attempt: Attempt) -> Attributes:
    seconds = attempt.duration_ns / 1e9
    row = _Attempted(seconds, attempt.status, attempt.request_id, attempt.retry_after, attempt.error_type)
    attributes: Attributes = to_builtins(row)
    return attributes


def _failed(failure: Failure, redactor: Redactor) -> Attributes:
    attributes: Attributes = {}
    if failure.exception_type is not None:
        attributes["exception.type"] = failure.exception_type
    if failure.message:
        attributes["otel_llm.error.message"] = redactor.text(failure.message[:_MOST_READ])[:MAX_MESSAGE]
    if failure.exception_type:
        attributes["exception.message"] = attributes.get("otel_llm.error.message", "")
    if failure.stacktrace:
        attributes["exception.stacktrace"] = redactor.text(failure.stacktrace)
    return attributes
