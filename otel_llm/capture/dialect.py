"""
The seam for dialects: how one wire format spells model, tokens and messages.

A dialect is pure: bytes in, facts out. It does not time, price, open spans or catch exceptions; the operation that
calls it guards it. `request` and `response` see whole bodies, a `StreamReader` is fed one frame at a time.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar, Final

from msgspec import Struct

from otel_llm.call import Content, Parameters, Usage

NOTHING: Final = 0
"""The frame told nothing that is timed."""
CONTENT: Final = 1
"""The frame carried output the user was waiting for: text, reasoning, a refusal, audio or a tool call."""
DONE: Final = 2
"""The frame ends the answer: a stream closed after it ended well."""
USAGE: Final = 3
"""The frame carries nothing but token counts: the user does not see it where it was us who asked for them."""


class Route(Struct, frozen=True):
    """
    Which requests a dialect reads: a regular expression for the end of the URL path, and what they do.
    """

    path: str
    operation: str
    """`chat`, `embeddings`, `text_completion`, `generate_content` or `fetch_response`."""
    method: str = "POST"


class Request(Struct, gc=False):
    """
    What a request body and path tell.
    """

    model: str | None
    recognised: bool = True
    """Whether the body has this dialect's shape; decides on hosts nobody listed."""
    stream: bool = False
    background: bool = False
    """The answer is not waited for: usage comes with a later fetch."""
    parameters: Parameters = Parameters()
    user_id: str | None = None
    conversation_id: str | None = None
    response_id: str | None = None
    """The stored response that is fetched."""
    labels: Mapping[str, str] = {}
    """What the request's own metadata calls labels; empty for most dialects."""


class Response(Struct, gc=False):
    """
    What an answer told so far; a stream fills it frame by frame, and the last word wins.
    """

    id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    finish_reasons: tuple[str, ...] = ()
    service_tier: str | None = None
    system_fingerprint: str | None = None
    reported_cost: Decimal | None = None
    """USD, when the provider itself says what the call cost."""
    status: str | None = None
    """Where a stored response stands (`gen_ai.response.status`)."""
    conversation_id: str | None = None
    embedding_dimensions: int | None = None
    """How long the vectors are that came, whatever was asked for."""
    error_type: str | None = None
    """The provider's own code for what went wrong."""
    error_message: str | None = None
    output_messages: list[dict[str, object]] | None = None
    """In the shape of `gen_ai.output.messages`; only when content is captured."""


class StreamReader:
    """
    Reads one streamed answer; `response` holds what was learned so far.
    """

    __slots__ = ("content", "response")

    def __init__(self, *, content: bool = False) -> None:
        self.response = Response()
        self.content = content

    def feed(self, data: bytes, event: bytes) -> int:
        """
        Read one frame's payload (`event` is its name, empty when unnamed); give NOTHING, CONTENT, DONE or USAGE.
        """
        raise NotImplementedError

    def finish(self) -> Response:
        """
        Give all that was learned, output messages put together.
        """
        return self.response


class Dialect:
    """
    How a wire format is read; subclass it, name the class under the entry point group `otel_llm_dialect`.
    """

    name: ClassVar[str]
    """Also the record's `otel_llm.api.type`."""
    provider: ClassVar[str]
    """The `gen_ai.provider.name` of a host that nobody listed."""
    routes: ClassVar[tuple[Route, ...]]
    hosts: ClassVar[Mapping[str, str]] = {}
    """Further hosts (exact, or `*.suffix`) and their provider names."""

    def request(self, body: bytes, path: str) -> Request:
        """
        Read what is asked for; raises `msgspec.DecodeError` when the body is not in this format.
        """
        raise NotImplementedError

    def prompt(self, body: bytes) -> Content:
        """
        Read the content of a request in the GenAI message schemas; called only when content is captured.
        """
        raise NotImplementedError

    def asking_for_usage(self, body: bytes) -> bytes | None:  # noqa: ARG002 - formats that always tell need nothing
        """
        Give a streaming request's body with token counts asked for; None when there is nothing to ask.
        """
        return None

    def response(self, body: bytes, *, content: bool) -> Response:
        """
        Read a whole answer, be it a success or an error.
        """
        raise NotImplementedError

    def stream(self, *, content: bool) -> StreamReader:
        """
        Give a reader for one streamed answer.
        """
        raise NotImplementedError
