"""
The format `gateway_log`: the request log document of the Noveum AI gateway, ready for Elasticsearch.

`request` and `response` hold the conversation only where the operator asked for content to be captured, else `null`.
"""

from typing import Any

import msgspec
from msgspec import Struct

from otel_llm.formats.facts import Facts, milliseconds
from otel_llm.formats.moment import with_milliseconds
from otel_llm.telemetry.event import Event

NAME = "ai_gateway_request_log"


class Resource(Struct, rename={"name": "service.name", "version": "service.version", "env": "deployment.environment"}):
    """
    Which service made the call.
    """

    name: str
    version: str
    env: str


class Tokens(Struct):
    """
    Token counts; null when the provider told none.
    """

    input: int | None
    output: int | None
    total: int | None


class Metadata(Struct):
    """
    What can be measured about the call; durations in milliseconds, sizes in bytes.
    """

    project_id: str | None
    project_name: str | None
    latency: int | None
    ttfb: int | None
    provider_latency: int | None
    tokens: Tokens
    cost: float | None
    status: str
    path: str | None
    method: str | None
    request_size: int | None
    response_size: int | None
    status_code: int
    provider_status_code: int
    error_count: int
    error_type: str | None
    provider_error_count: int
    provider_error_type: str | None
    provider_request_id: str | None


class Attributes(Struct):
    """
    The call.
    """

    id: str
    thread_id: str | None
    org_id: str | None
    user_id: str | None
    project_id: str | None
    provider: str | None
    model: str | None
    request: dict[str, Any] | None
    response: dict[str, Any] | None
    metadata: Metadata


class GatewayLog(Struct):
    """
    The document.
    """

    timestamp: str
    resource: Resource
    name: str
    attributes: Attributes


def encode(event: Event) -> bytes:
    """
    Give the document as JSON.
    """
    return _to_json(project(event))


_to_json = msgspec.json.Encoder().encode


def project(event: Event) -> GatewayLog:
    """
    Give the document.
    """
    facts = Facts(event)
    return GatewayLog(with_milliseconds(facts.ended_ns), _resource(facts), NAME, _attributes(facts))


def _resource(facts: Facts) -> Resource:
    return Resource(
        name=facts.resource("service.name"),
        version=facts.resource("service.version"),
        env=facts.resource("deployment.environment.name", "deployment.environment"),
    )


def _attributes(facts: Facts) -> Attributes:
    return Attributes(
        id=_message_id(facts.text("otel_llm.request.id") or facts.event.id),
        thread_id=facts.text("gen_ai.conversation.id"),
        org_id=facts.text("otel_llm.org.id"),
        user_id=facts.text("user.id"),
        project_id=facts.text("otel_llm.project.id"),
        provider=facts.provider,
        model=facts.text("gen_ai.request.model", "gen_ai.response.model"),
        request=_request(facts) if facts.content else None,
        response=_response(facts) if facts.content else None,
        metadata=_metadata(facts),
    )


def _message_id(request_id: str) -> str:
    return request_id if request_id.startswith("msg_") else f"msg_{request_id}"


def _request(facts: Facts) -> dict[str, Any]:
    return facts.given(
        model="gen_ai.request.model",
        system="gen_ai.system_instructions",
        messages="gen_ai.input.messages",
        tools="gen_ai.tool.definitions",
        stream="gen_ai.request.stream",
        max_tokens="gen_ai.request.max_tokens",
        temperature="gen_ai.request.temperature",
        top_p="gen_ai.request.top_p",
        top_k="gen_ai.request.top_k",
        frequency_penalty="gen_ai.request.frequency_penalty",
        presence_penalty="gen_ai.request.presence_penalty",
        seed="gen_ai.request.seed",
        stop="gen_ai.request.stop_sequences",
        n="gen_ai.request.choice.count",
    )


def _response(facts: Facts) -> dict[str, Any]:
    return facts.given(
        id="gen_ai.response.id",
        model="gen_ai.response.model",
        messages="gen_ai.output.messages",
        finish_reasons="gen_ai.response.finish_reasons",
        streamed_data="otel_llm.stream.chunks",
    )


def _metadata(facts: Facts) -> Metadata:
    status_code = facts.whole("http.response.status_code") or 0
    failed = not facts.succeeded
    return Metadata(
        project_id=facts.text("otel_llm.project.id"),
        project_name=facts.text("otel_llm.project.name"),
        latency=milliseconds(facts.duration),
        ttfb=milliseconds(facts.seconds("otel_llm.time_to_first_byte", "gen_ai.response.time_to_first_chunk")),
        provider_latency=milliseconds(_provider_seconds(facts)),
        tokens=Tokens(facts.input_tokens, facts.output_tokens, facts.total_tokens),
        cost=facts.cost,
        status="error" if failed else "success",
        path=facts.text("url.path"),
        method=facts.text("http.request.method"),
        request_size=facts.whole("http.request.body.size"),
        response_size=facts.whole("http.response.body.size"),
        status_code=status_code,
        provider_status_code=facts.http_status or 0,
        error_count=int(failed),
        error_type=facts.error_type,
        provider_error_count=facts.retries + int(facts.provider_failed),
        provider_error_type=facts.error_type if facts.provider_failed else None,
        provider_request_id=_provider_request_id(facts),
    )


def _provider_seconds(facts: Facts) -> float | None:
    told = facts.seconds("otel_llm.provider.latency")
    return told if told is not None or facts.is_true("otel_llm.cache.hit") else facts.duration


def _provider_request_id(facts: Facts) -> str | None:
    # A call whose provider gave no request id has its event id in that place.
    told = facts.text("otel_llm.provider.request_id", "otel_llm.request.id")
    return None if told == facts.event.id else told
