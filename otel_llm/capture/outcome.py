"""
How an operation ended, and what can be asked about it afterwards.

A call that went well is summed up by who asks first, and so is what was said in it; what failed is summed up at once.
What waits to be asked holds no more of the call than the answer needs.
"""

from collections.abc import Callable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from otel_llm.call import Call, Content, Failure
from otel_llm.capture.endpoint import Endpoint
from otel_llm.capture.harmless import harmless
from otel_llm.capture.operation import Operation
from otel_llm.capture.quotation import unquoted


class Outcome(Struct, frozen=True):
    """
    How an operation ended; the call, and what was said in it, are put together by who asks first.
    """

    ended_ns: int
    """Unix nanoseconds."""
    failed: bool
    sum_up: Callable[[], Call]
    """Gives the call; holds nothing of what was said."""
    content: Callable[[], Content] | None
    """Of a call whose content is captured."""
    kept_bytes: int
    """What waits to be read for `content`."""


def outcome_of(operation: Operation, error: BaseException | None, *, billable: bool, content: bool) -> Outcome:
    """
    Give the outcome of an operation that has just ended, `content` telling whether what was said is captured.
    """
    exchange = operation.exchange
    assert exchange is not None  # noqa: S101 - an operation ends with an exchange
    sum_up = partial(operation.call, error, billable=billable)
    # An exception keeps all that its frames hold, the reader of a stream all that was said in it.
    if error is not None or not exchange.succeeded or (content and exchange.stream):
        call = sum_up()
        if call.failure is not None and not content:
            call = replace(call, failure=_discreet(call.failure, operation))
        sum_up = partial(_same, call)
        failed, ended_ns = call.failure is not None, call.started_ns + call.duration_ns
    else:
        failed, ended_ns = False, operation.started_ns + exchange.ended_ns - operation.started
    said, kept_bytes = None, 0
    if content:
        said = _content(operation)
        kept_bytes = (operation.request_bytes or 0) + exchange.response_bytes
    operation.http.forget_payload()
    return Outcome(ended_ns, failed, sum_up, said, kept_bytes)


def _same(call: Call) -> Call:
    return call


def _discreet(failure: Failure, operation: Operation) -> Failure:
    """
    Keep the prompt out of a provider's words; where the two cannot be compared, there are no words.
    """
    status = operation.exchange.status if operation.exchange is not None else None
    if status is None or not failure.message:
        return failure
    prompt = _prompt(operation.endpoint, operation.http.body)
    return replace(failure, message=unquoted(failure.message, prompt) if prompt is not None else f"HTTP {status}")


def _content(operation: Operation) -> Callable[[], Content]:
    """
    Give what will tell what was said, and take it from the operation.
    """
    response = operation.exchange.response if operation.exchange is not None else None
    answer = None
    if response is not None:
        answer, response.output_messages = response.output_messages, None
    return partial(_said, operation.endpoint, operation.http.body, answer)


def _said(endpoint: Endpoint | None, body: bytes | None, answer: list[dict[str, object]] | None) -> Content:
    return replace(_prompt(endpoint, body) or Content(), output_messages=answer)


@harmless
def _prompt(endpoint: Endpoint | None, body: bytes | None) -> Content | None:
    return endpoint.dialect.prompt(body) if endpoint is not None and body else None
