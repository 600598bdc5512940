"""One HTTP request and its answer, with its clock readings."""

import functools
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Final, Literal

import msgspec
from msgspec import Struct

from otel_llm.call import Attempt, RateLimit
from otel_llm.capture.dialect import CONTENT, DONE, USAGE, Dialect, Response, StreamReader
from otel_llm.capture.encoding import Decode, decoder
from otel_llm.capture.framing import FRAMINGS, Frame, Framing

Headers = Sequence[tuple[bytes, bytes]]

End = Literal["complete", "closed", "failed"]
"""How an answer ended: read to its last byte or terminal frame, let go of before, or broken off."""

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes kept of a body that is read piece by piece; the usage in a longer one is not told."""

MALFORMED: Final = "malformed_response"
"""`error.type` of a call whose whole answer is no JSON: an empty body, or a page of some box in between."""

_NOTHING = Response()


def lowered(headers: Headers) -> dict[bytes, bytes]:
    """
    Give headers by their names in lower case; of one that comes twice the last.
    """
    names, values = zip(*headers, strict=True) if headers else ((), ())
    return dict(zip(map(bytes.lower, names), values, strict=True))


class HttpRequest(Struct, gc=False):
    """
    What a client plugin hands over of a request; `body` is None when it is streamed by the user.
    """

    method: str
    host: str
    port: int | None
    path: str
    headers: Headers
    body: bytes | None
    query: str = ""

    def forget_payload(self) -> None:
        """
        Let go of headers and body: what is told of a call may be asked for long after it ended.
        """
        self.headers = ()
        self.body = None


class Exchange:
    """
    One request and its answer, as far as it got.
    """

    __slots__ = (
        "_body",
        "_decode",
        "_framing",
        "_read",
        "_reader",
        "accepted",
        "chunks",
        "content",
        "dialect",
        "end",
        "ended_ns",
        "error_type",
        "first_byte_ns",
        "first_chunk_ns",
        "headers",
        "last_chunk_ns",
        "ok",
        "response",
        "response_bytes",
        "started_ns",
        "status",
        "stream",
    )

    def __init__(self, dialect: Dialect, started_ns: int, *, content: bool) -> None:
        self.dialect = dialect
        self.content = content
        self.started_ns = started_ns
        self.status: int | None = None
        self.accepted = False
        """Whether the status is one of success."""
        self.headers: Mapping[bytes, bytes] = {}
        self.stream = False
        self.end: End | None = None
        self.ok = False
        """Whether the provider took the request and the answer came whole."""
        self.error_type: str | None = None
        """The class of the exception that ended it."""
        self.ended_ns = 0
        self.first_byte_ns = 0
        self.first_chunk_ns = 0
        self.last_chunk_ns = 0
        self.chunks = 0
        self.response_bytes = 0
        self.response: Response | None = None
        self._body: list[bytes] = []
        self._decode: Decode | None = None
        self._framing: Framing | None = None
        self._reader: StreamReader | None = None

    def answer(self, status: int, headers: Headers) -> None:
        """
        Take the answer's head.
        """
        self.first_byte_ns = perf_counter_ns()
        self.status = status
        self.accepted = status < 400  # noqa: PLR2004
        self.headers = lowered(headers)

    def whole(self, body: bytes) -> None:
        """
        Take a decoded body that the client has read already.
        """
        self.response_bytes = len(body)
        if self._streams():
            self._open_stream()
            self._frames(self._framing.feed(body))  # type: ignore[union-attr]
        else:
            self.response = self._parsed(body)
        self.finish("complete")

    def open(self) -> None:
        """
        Get ready for a body that comes piece by piece, as it is on the wire.
        """
        encoding = self.headers.get(b"content-encoding")
        if encoding:
            self._decode = decoder(encoding.decode("latin-1")) or _unreadable
        if self._streams():
            self._open_stream()

    def feed(self, chunk: bytes) -> bool:
        """
        Take the next bytes; True when they hold the frame that ends the answer.
        """
        self.response_bytes += len(chunk)
        if self._decode is not None:
            chunk = self._decode(chunk)
        framing = self._framing
        if framing is None:
            return self._keep(chunk)
        frame = framing.sole(chunk)
        if frame is not None:
            return self._told(self._read(frame[1], frame[0]))
        return self._frames(framing.feed(chunk))

    def strain(self, chunk: bytes) -> tuple[bytes, bool]:
        """
        Take the next bytes and give those the user may see, besides what `feed` gives.

        Held back are the frames that carry nothing but the token counts that we asked for.
        """
        if self._framing is None or self._decode is not None:
            return chunk, self.feed(chunk)
        self.response_bytes += len(chunk)
        shown, done = [], False
        for block, frames in self._framing.blocks(chunk):
            told = [self._read(data, event) for event, data in frames]
            for each in told:
                done |= self._told(each)
            if USAGE not in told:
                shown.append(block)
        return b"".join(shown), done

    def unshown(self) -> bytes:
        """
        Give the bytes that `strain` still holds when the stream ends.
        """
        return self._framing.rest() if self._framing is not None and self._decode is None else b""

    def finish(self, end: End) -> None:
        """
        Note how the answer ended; the first word counts.
        """
        if self.end is not None:
            return
        self.end = end
        self.ended_ns = perf_counter_ns()
        self.ok = end == "complete" and self.accepted
        if self._reader is not None:
            self._finish_stream(self._reader)
        elif self._body:
            self.response = self._parsed(b"".join(self._body))
            self._body.clear()

    @property
    def succeeded(self) -> bool:
        """Whether this is the answer that was asked for."""
        return self.ok and (self.response is None or not self.response.error_type)

    def attempt(self) -> Attempt:
        """
        Sum the exchange up, now that it has ended.
        """
        return Attempt(
            self.started_ns,
            self.ended_ns - self.started_ns,
            self.status,
            self.request_id,
            self.retry_after,
            self.error_type,
        )

    @property
    def request_id(self) -> str | None:
        """The provider's id of this exchange, whatever its header is called."""
        for name in _REQUEST_IDS:
            value = self.headers.get(name)
            if value:
                return value.decode("latin-1")
        return None

    @property
    def retry_after(self) -> float | None:
        """Seconds the provider asked to wait (`retry-after-ms`, or `retry-after` in seconds)."""
        headers = self.headers
        if b"retry-after" not in headers and b"retry-after-ms" not in headers:
            return None
        milliseconds = _number(headers.get(b"retry-after-ms"))
        return milliseconds / 1000 if milliseconds is not None else _number(headers.get(b"retry-after"))

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the rate-limit headers said; None when there were none."""
        headers = self.headers
        names = _OPENAI_LIMITS if _OPENAI_LIMITS[0] in headers or _OPENAI_LIMITS[3] in headers else _ANTHROPIC_LIMITS
        told = [headers.get(name) for name in names]
        if not any(told):
            return None
        counts = [int(value) if value is not None and value.isdigit() else None for value in told]
        requests, requests_left, _, tokens, tokens_left, _ = counts
        return RateLimit(requests, requests_left, _text(told[2]), tokens, tokens_left, _text(told[5]))

    def _streams(self) -> bool:
        return _media_type(self.headers.get(b"content-type", b"")) in FRAMINGS

    def _open_stream(self) -> None:
        self.stream = True
        self._framing = FRAMINGS[_media_type(self.headers[b"content-type"])]()
        self._reader = self.dialect.stream(content=self.content)
        self._read = self._reader.feed

    def _parsed(self, body: bytes) -> Response:
        response = self.dialect.response(body, content=self.content)
        if response == _NOTHING and self.accepted and self.end != "closed" and not self._readable(body):
            response.error_type = MALFORMED
        return response

    def _readable(self, body: bytes) -> bool:
        # A client without the library for a coding gives the body as it came.
        return b"content-encoding" in self.headers or _is_json(body)

    def _keep(self, chunk: bytes) -> bool:
        if self.response_bytes > MAX_BODY:
            self._body.clear()
        elif chunk:
            self._body.append(chunk)
        return False

    def _frames(self, frames: list[Frame]) -> bool:
        done = False
        for event, data in frames:
            done |= self._told(self._read(data, event))
        return done

    def _told(self, told: int) -> bool:
        if told == CONTENT:
            self.chunks += 1
            self.last_chunk_ns = now = perf_counter_ns()
            if not self.first_chunk_ns:
                self.first_chunk_ns = now
        return told == DONE

    def _finish_stream(self, reader: StreamReader) -> None:
        if self._framing is not None and self.end == "complete":
            self._frames(self._framing.flush())
        self.response = reader.finish()


_REQUEST_IDS = (b"x-request-id", b"request-id", b"apim-request-id", b"x-ms-request-id", b"cf-ray")

_OPENAI_LIMITS = (
    b"x-ratelimit-limit-requests",
    b"x-ratelimit-remaining-requests",
    b"x-ratelimit-reset-requests",
    b"x-ratelimit-limit-tokens",
    b"x-ratelimit-remaining-tokens",
    b"x-ratelimit-reset-tokens",
)
"""The spelling that most providers share, in the order of `RateLimit`."""

_ANTHROPIC_LIMITS = tuple(
    f"anthropic-ratelimit-{of}-{what}".encode()
    for of in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)


@functools.lru_cache(maxsize=64)
def _media_type(content_type: bytes) -> str:
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None


def _number(value: bytes | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _unreadable(_chunk: bytes) -> bytes:
    return b""
