"""
The logical call around its attempts.

The first exchange that is ours begins an operation; it ends with the first exchange that ends well, or, without one,
when the SDK's method returns or raises, or when the last answer left open is read or let go.
"""

import asyncio
import functools
import hashlib
import traceback
from collections.abc import Mapping
from time import perf_counter_ns, time_ns
from typing import Any

from msgspec.structs import replace

from otel_llm.call import Call, Failure, Identity, Parameters, Status, Usage, UsageSource
from otel_llm.capture.dialect import Request, Response
from otel_llm.capture.endpoint import Endpoint
from otel_llm.capture.exchange import Exchange, HttpRequest
from otel_llm.capture.labels import Context

TOO_MANY_REQUESTS = 429
_NO_RESPONSE = Response()
_NO_USAGE = Usage()


class Operation:
    """
    One logical call while it runs.
    """

    __slots__ = (
        "_unclaimed",
        "context",
        "ended",
        "endpoint",
        "error",
        "exchange",
        "finished",
        "http",
        "key_hash",
        "request",
        "request_bytes",
        "running",
        "sending",
        "started",
        "started_ns",
        "trace",
        "usage_injected",
    )

    def __init__(self, *, running: bool) -> None:
        self.started_ns = time_ns()
        self.started = perf_counter_ns()
        self.running = running
        """Whether the SDK's method is still at work and may send again."""
        self.sending = False
        self.endpoint: Endpoint | None = None
        self.exchange: Exchange | None = None
        """The latest exchange."""
        self.ended: list[Exchange] = []
        """The exchanges that have ended, each an attempt."""
        self.finished = False
        """Whether the call is recorded, or is by now in the hands of who records it."""
        self._unclaimed = [True]

    def begin(self, endpoint: Endpoint, http: HttpRequest, request: Request, context: Context) -> None:
        """
        Become the operation of a first request.
        """
        self.endpoint = endpoint
        self.http = http
        self.request_bytes = len(http.body) if http.body is not None else None
        self.request = request
        self.context = context
        self.key_hash: str | None = None
        self.error: BaseException | None = None
        self.usage_injected = False
        self.trace: Any = None
        """What the recorder keeps with the operation."""

    def claim(self) -> bool:
        """
        Win the right to finish the operation; only the first to ask gets it, on whatever thread.
        """
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        self.finished = True
        return True

    def call(self, error: BaseException | None, *, billable: bool) -> Call:
        """
        Sum up what the call was.
        """
        endpoint, exchange, request = self.endpoint, self.exchange, self.request
        assert endpoint is not None  # noqa: S101 - an operation is summed up only after it began
        assert exchange is not None  # noqa: S101
        response = exchange.response or _NO_RESPONSE
        status = _status(exchange, response, error)
        context, http, started = self.context, self.http, self.started
        values = context.values
        attempts = tuple(each.attempt() for each in self.ended)
        return Call(
            operation=endpoint.operation,
            provider=endpoint.provider,
            api=endpoint.dialect.name,
            started_ns=self.started_ns,
            duration_ns=(exchange.ended_ns if status == "success" else perf_counter_ns()) - started,
            status=status,
            request_model=request.model,
            response_model=response.model,
            response_id=response.id or request.response_id,
            response_status=response.status,
            stream=request.stream or exchange.stream,
            server_address=http.host,
            server_port=http.port,
            method=http.method,
            path=http.path,
            request_bytes=self.request_bytes,
            response_bytes=exchange.response_bytes if exchange.first_byte_ns else None,
            first_byte_ns=exchange.first_byte_ns - started if exchange.first_byte_ns else None,
            first_chunk_ns=exchange.first_chunk_ns - started if exchange.first_chunk_ns else None,
            chunk_interval_ns=_chunk_interval(exchange) if exchange.chunks else None,
            usage=response.usage or _NO_USAGE,
            usage_source=_usage_source(self, response),
            reported_cost=response.reported_cost,
            parameters=request.parameters if response.embedding_dimensions is None else _embedded(request, response),
            service_tier=response.service_tier,
            system_fingerprint=response.system_fingerprint,
            finish_reasons=response.finish_reasons,
            attempts=attempts,
            http_status=exchange.status,
            request_id=attempts[-1].request_id if attempts else exchange.request_id,
            failure=_failure(exchange, response, error) if status not in {"success", "cancelled"} else None,
            rate_limit=exchange.rate_limit,
            labels={**request.labels, **context.labels()} if values else request.labels,
            identity=_filled(context.identity(exchange.headers), request, response),
            key=context.key(self.key_hash),
            billable=billable,
            cache=context.response_cache(exchange.headers),
            parent_request_id=values.get("parent_request_id"),
            fallback_index=_integer(values.get("fallback_index")) if values else None,
            route_alias=values.get("route_alias"),
        )


def key_hash(headers: Mapping[bytes, bytes]) -> str | None:
    """
    Give the SHA-256 of the credential that a request carries, in lower-case hex (requirements C-01, C-04).
    """
    key = headers.get(b"authorization") or headers.get(b"x-api-key") or headers.get(b"api-key")
    return _digest(key) if key else None


@functools.lru_cache(maxsize=256)
def _digest(key: bytes) -> str:
    scheme, _, credential = key.partition(b" ")
    return hashlib.sha256(credential if scheme.lower() == b"bearer" else key).hexdigest()


def _status(exchange: Exchange, response: Response, error: BaseException | None) -> Status:
    if error is not None and _is_cancel(error):
        return "cancelled"
    if exchange.status == TOO_MANY_REQUESTS:
        return "rate_limited"
    if error is not None and _is_timeout(error):
        return "timeout"
    if exchange.end == "closed" and not response.error_type and exchange.accepted:
        return "cancelled"
    if exchange.ok and not response.error_type:
        return "success"
    return "error"


def _is_cancel(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit)


def _is_timeout(error: BaseException) -> bool:
    """
    Tell a timeout of any client: they share no class, but the word.
    """
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


def _failure(exchange: Exchange, response: Response, error: BaseException | None) -> Failure:
    status = str(exchange.status) if exchange.status is not None else None
    kind = response.error_type or (_class_name(error) if error else None) or status or "_OTHER"
    message = response.error_message or _words(exchange, error)
    if error is None:
        return Failure(kind, message)
    return Failure(kind, message, _class_name(error), _stack(error))


def _words(exchange: Exchange, error: BaseException | None) -> str | None:
    """
    Give an exception's own words, but not an SDK's on an error answer: they quote its body, which may quote the prompt.
    """
    if exchange.status is not None and not exchange.accepted:
        return f"HTTP {exchange.status}"
    return str(error) if error is not None else None


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _stack(error: BaseException) -> str:
    """
    Give the frames that an exception came through, without their source lines: those may hold the prompt.
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames]
    return "\n".join(("Traceback (most recent call last):", *lines, _class_name(error)))


def _embedded(request: Request, response: Response) -> Parameters:
    """
    Let the answer's vectors tell their dimensions where the request asked for none.
    """
    if request.parameters.embedding_dimensions is not None:
        return request.parameters
    return replace(request.parameters, embedding_dimensions=response.embedding_dimensions)


def _usage_source(operation: Operation, response: Response) -> UsageSource:
    if response.usage is None:
        return "absent"
    if operation.endpoint is not None and operation.endpoint.operation == "fetch_response":
        return "fetched"
    return "injected" if operation.usage_injected else "provider"


def _chunk_interval(exchange: Exchange) -> int | None:
    if exchange.chunks < 2:  # noqa: PLR2004 - an interval needs two chunks
        return None
    return (exchange.last_chunk_ns - exchange.first_chunk_ns) // (exchange.chunks - 1)


def _filled(identity: Identity, request: Request, response: Response) -> Identity:
    """
    Let the request's own body name the user and the conversation where nobody else did.
    """
    user = identity.user_id or request.user_id
    conversation = identity.conversation_id or request.conversation_id or response.conversation_id
    if user == identity.user_id and conversation == identity.conversation_id:
        return identity
    return replace(identity, user_id=user, conversation_id=conversation)


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() else None
