"""
Sees what passes.

Client plugins hold a `Sending` for each request that is ours and tell it what passes; provider SDKs run their central
request method inside `scope`, so that their retries are attempts of one operation. All that a client plugin can call
is `harmless`.
"""

import functools
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar, Token
from fnmatch import fnmatchcase
from time import perf_counter_ns
from typing import ParamSpec, Protocol, TypeVar

import msgspec
from msgspec import Struct

from otel_llm.capture.dialect import Request
from otel_llm.capture.endpoint import Endpoint, Endpoints
from otel_llm.capture.exchange import End, Exchange, Headers, HttpRequest, lowered
from otel_llm.capture.harmless import harmless
from otel_llm.capture.labels import Surroundings
from otel_llm.capture.operation import Operation, key_hash
from otel_llm.capture.outcome import Outcome, outcome_of
from otel_llm.capture.reaper import collecting, reaper
from otel_llm.diagnostics import report_failure

P = ParamSpec("P")
R = TypeVar("R")

_BACKGROUND_IDS = 10_000


class Recorder(Protocol):
    """
    The road beyond capture, as operations see it.
    """

    def starts(self, operation: Operation) -> bool:
        """
        Open the operation's span; False when somebody asked for silence.
        """

    def attach(self, operation: Operation) -> object:
        """
        Make the operation's span the current one and give the token that `detach` takes.
        """

    def detach(self, token: object) -> None:
        """
        Make the span that was current before `attach` the current one again.
        """

    def trace_headers(self, operation: Operation) -> dict[str, str]:
        """
        Give the headers that carry the operation's trace context.
        """

    def attempted(self, operation: Operation, exchange: Exchange) -> None:
        """
        Note that an exchange has been answered or has failed.
        """

    def ended(self, operation: Operation, outcome: Outcome) -> None:
        """
        Price, describe and deliver a finished call.
        """

    def failed(self, operation: Operation) -> None:
        """
        End the operation's span: the call could not be summed up or recorded.
        """


_current: ContextVar[Operation | None] = ContextVar("otel_llm_operation", default=None)


class Sending(Struct, eq=False, weakref=True):
    """
    One exchange of an operation, in the hands of the client plugin that sends it.
    """

    operation: Operation
    exchange: Exchange
    changes: bool
    """Whether the operator wants something added to requests of some hosts."""
    _observer: "Observer"
    _tokens: tuple[Token[Operation | None] | None, object] | None = None

    @harmless
    def attach(self) -> None:
        """
        Make the call's span current and mark the operation as sending; `detach` undoes it.
        """
        operation = self.operation
        operation.sending = True
        span = self._observer.recorder.attach(operation)
        # Within an SDK's method it is the current operation already.
        self._tokens = None if _current.get() is operation else _current.set(operation), span

    @harmless
    def detach(self) -> None:
        """
        Undo `attach`, in the same context.
        """
        self.operation.sending = False
        if self._tokens is not None:
            current, span = self._tokens
            self._tokens = None
            if current is not None:
                _current.reset(current)
            self._observer.recorder.detach(span)

    @property
    def strains(self) -> bool:
        """Whether the user gets less than what is on the wire."""
        return self.operation.usage_injected

    @harmless
    def asking_for_usage(self) -> bytes | None:
        """
        Give the body to send instead of the user's, where the operator wants the token counts of streams asked for.
        """
        operation = self.operation
        http, endpoint = operation.http, operation.endpoint
        if endpoint is None or not operation.request.stream or not http.body:
            return None
        if not self._observer.asks_for_usage(http.host):
            return None
        body = endpoint.dialect.asking_for_usage(http.body)
        operation.usage_injected = body is not None
        return body

    @harmless
    def headers(self) -> dict[str, str]:
        """
        Give the headers to add to the request: the trace context, for hosts that the operator listed.
        """
        return self._observer.propagated(self.operation)

    @harmless
    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """
        Take an answer that the client has read whole; `body` is decoded.
        """
        try:
            self.exchange.answer(status, headers)
            self.exchange.whole(body)
        finally:
            self._settle("complete", None)

    @harmless
    def opened(self, status: int, headers: Headers) -> None:
        """
        Take the head of an answer whose body the user will read.
        """
        self.exchange.answer(status, headers)
        self.exchange.open()
        self._observer.reaper.watch(self)
        self._observer.recorder.attempted(self.operation, self.exchange)

    def feed(self, chunk: bytes) -> bytes:
        """
        Take the next bytes as they are on the wire, before the user gets them, and give what the user gets.
        """
        # `harmless`, spelled out: this runs for every chunk.
        try:
            exchange = self.exchange
            if exchange.end is None and exchange.feed(chunk):
                self._settle("complete", None)
        except Exception as error:  # noqa: BLE001 - the promise of this module
            report_failure("Sending.feed", error)
        return chunk

    def strain(self, chunk: bytes) -> bytes:
        """
        Take the next bytes like `feed`, where it was us who asked for token counts: the user does not get those.
        """
        try:
            shown, done = self.exchange.strain(chunk)
            if done and self.exchange.end is None:
                self._settle("complete", None)
        except Exception as error:  # noqa: BLE001 - the promise of this module
            report_failure("Sending.strain", error)
            return chunk
        return shown

    def unshown(self) -> bytes:
        """
        Give what `strain` still holds when the stream ends.
        """
        return self.exchange.unshown()

    @harmless
    def ended(self, end: End, error: BaseException | None = None) -> None:
        """
        Note that the body ended: read to its end, let go of, or broken off by `error`.
        """
        if collecting():
            # SDKs close their streams in finalisers.
            self.dropped()
        elif self.exchange.end is None:
            self._settle(end, error)

    @harmless
    def failed(self, error: BaseException) -> None:
        """
        Note that sending raised, so that there is no answer.
        """
        self._settle("failed", error)

    def dropped(self) -> None:
        """
        Note that the body was let go of by the garbage collector, where no lock may be taken: a thread does the rest.
        """
        if self.exchange.end is None:
            self._observer.reaper.put(self)

    def disowned(self) -> None:
        """
        Note that this is a forked child's copy: the call is for the parent to record.
        """
        self.operation.claim()

    def _settle(self, end: End, error: BaseException | None) -> None:
        try:
            if self.exchange.end is None:
                self.exchange.finish(end)
        finally:
            self._observer.settle(self.operation, self.exchange, error)


class Observer:
    """
    Sees the requests of all client plugins and tells the recorder of the calls among them.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        recorder: Recorder,
        surroundings: Surroundings,
        *,
        content: bool = False,
        include_usage: Sequence[str] = (),
        propagate: Sequence[str] = (),
    ) -> None:
        self.recorder = recorder
        self.reaper = reaper
        self.endpoint = endpoints.match
        """Tells what a request is; None, at the price of a look into a dictionary, when it is none of ours."""
        self._surroundings = surroundings
        self._content = content
        self._include_usage = tuple(include_usage)
        self._propagate = tuple(propagate)
        self.changes = bool(include_usage or propagate)
        self._background: dict[str, bool] = {}

    def begin(self, endpoint: Endpoint, http: HttpRequest) -> Sending | None:
        """
        Open an exchange; None when the request is not ours after all, or inside another one that is.
        """
        operation = _open_operation()
        if operation is None:
            operation = Operation(running=False)
        elif operation.sending:
            return None
        if operation.endpoint is None and not self._started(operation, endpoint, http):
            return None
        if operation.exchange is not None and operation.exchange.end is None:
            # Old SDKs retry a stream without closing the answer they give up.
            operation.exchange.finish("closed")
            self.settle(operation, operation.exchange, None)
        exchange = Exchange(endpoint.dialect, perf_counter_ns(), content=self._content)
        operation.exchange = exchange
        return Sending(operation, exchange, self.changes, self)

    def asks_for_usage(self, host: str) -> bool:
        """
        Tell whether the operator wants the token counts of this host's streams asked for.
        """
        return any(fnmatchcase(host, glob) for glob in self._include_usage)

    def propagated(self, operation: Operation) -> dict[str, str]:
        """
        Give the trace context headers for an operation's host, if the operator listed it.
        """
        host = operation.http.host
        if not any(fnmatchcase(host, glob) for glob in self._propagate):
            return {}
        return self.recorder.trace_headers(operation)

    def settle(self, operation: Operation, exchange: Exchange, error: BaseException | None) -> None:
        """
        Count an ended exchange, and finish its operation when nothing more can come.
        """
        operation.ended.append(exchange)
        if error is not None:
            exchange.error_type = type(error).__name__
        operation.error = error
        try:
            self.recorder.attempted(operation, exchange)
        finally:
            if exchange.ok or not operation.running:
                self.finish(operation, error)

    @harmless
    def returned(self, operation: Operation) -> None:
        """
        Note that the SDK's method returned: with an answer still open, the call goes on until that is read.
        """
        operation.running = False
        if operation.exchange is not None and operation.exchange.end is not None and not operation.finished:
            self.finish(operation, operation.error)

    @harmless
    def raised(self, operation: Operation, error: BaseException) -> None:
        """
        Note that the SDK's method raised.
        """
        operation.running = False
        exchange = operation.exchange
        if exchange is None:
            return
        if exchange.end is None:
            exchange.finish("failed")
            exchange.error_type = type(error).__name__
            operation.ended.append(exchange)
        self.finish(operation, error)

    def finish(self, operation: Operation, error: BaseException | None) -> None:
        """
        Record the call, once.
        """
        if not operation.claim():
            return
        operation.error = None  # its traceback leads back to the operation
        try:
            billable = self._billable(operation)
            self.recorder.ended(operation, outcome_of(operation, error, billable=billable, content=self._content))
        except Exception:
            self.recorder.failed(operation)
            raise

    def _started(self, operation: Operation, endpoint: Endpoint, http: HttpRequest) -> bool:
        request = self._request(endpoint, http)
        if request is None:
            return False
        headers = lowered(http.headers)
        operation.begin(endpoint, http, request, self._surroundings.read(headers))
        operation.key_hash = key_hash(headers)
        if self.recorder.starts(operation):
            return True
        # Silence was asked for. Nothing has begun, or the next attempt would go on with it.
        operation.endpoint = None
        return False

    def _request(self, endpoint: Endpoint, http: HttpRequest) -> Request | None:
        """
        Read the request's body; on a host nobody listed, it has to be in the dialect's shape.
        """
        try:
            target = f"{http.path}?{http.query}" if http.query else http.path
            request = endpoint.dialect.request(http.body or b"", target)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = Request(model=None, recognised=False)
        return request if endpoint.listed or request.recognised else None

    def _billable(self, operation: Operation) -> bool:
        """
        Tell whether tokens and cost belong to this call: with a stored answer, to the one that first sees it finished.
        """
        response = operation.exchange.response if operation.exchange else None
        if response is None or response.id is None:
            return True
        if response.status in _UNFINISHED:
            self._await(response.id, operation)
            return False
        if operation.endpoint is not None and operation.endpoint.operation != "fetch_response":
            return True
        return self._background.pop(response.id, None) is not None

    def _await(self, response_id: str, operation: Operation) -> None:
        if not operation.request.background:
            return
        if len(self._background) >= _BACKGROUND_IDS:
            self._background.pop(next(iter(self._background)), None)
        self._background[response_id] = True


_UNFINISHED = frozenset({"queued", "in_progress"})


def scope(observer: Callable[[], Observer | None], method: Callable[P, R]) -> Callable[P, R]:
    """
    Wrap an SDK's central request method: all that it sends is one operation.
    """

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        seen = observer()
        if seen is None or _open_operation() is not None:
            return method(*args, **kwargs)
        operation = Operation(running=True)
        token = _current.set(operation)
        try:
            answer = method(*args, **kwargs)
        except BaseException as error:
            _current.reset(token)
            seen.raised(operation, error)
            raise
        _current.reset(token)
        seen.returned(operation)
        return answer

    return run


def scope_async(
    observer: Callable[[], Observer | None], method: Callable[P, Awaitable[R]]
) -> Callable[P, Awaitable[R]]:
    """
    Wrap the `async` twin of a central request method.
    """

    @functools.wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        seen = observer()
        if seen is None or _open_operation() is not None:
            return await method(*args, **kwargs)
        operation = Operation(running=True)
        token = _current.set(operation)
        try:
            answer = await method(*args, **kwargs)
        except BaseException as error:
            _current.reset(token)
            seen.raised(operation, error)
            raise
        _current.reset(token)
        seen.returned(operation)
        return answer

    return run


def _open_operation() -> Operation | None:
    operation = _current.get()
    return None if operation is None or operation.finished else operation
