"""
How one answer of the provider server departs from the ordinary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

Edit = Callable[[list[bytes]], list[bytes]]
"""Changes the frames of a streamed answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    One scripted answer; the default is what the provider would say to the request.
    """

    status: int = 200
    """From 400 on the body is the provider's error document for that status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the provider's own."""
    body: bytes | None = None
    """Sent as it stands instead of the provider's answer."""
    text: str | None = None
    """What the model says."""
    usage: Mapping[str, object] | None = None
    """Laid over the usage that the provider would report, key by key."""
    encoding: str | None = None
    """`gzip`, `deflate`, `br` or `zstd`; the last two need their library."""
    chunk_size: int | None = None
    """Cuts the body into pieces of so many bytes, wherever that falls."""
    edit: Edit | None = None
    """Applied to the frames of a stream before they are cut."""
    first_byte_delay: float = 0.0
    """Seconds before the status line."""
    chunk_delay: float = 0.0
    """Seconds before each piece but the first."""
    hold: Event | None = None
    """The answer stops until this is set."""
    hold_at: int = 1
    """How many pieces go out before it stops; 0 stops before the status line."""
    cut_after: int | None = None
    """Closes the connection after so many pieces, the answer unfinished; 0 closes it instead of answering."""
    reset: bool = False
    """Makes `cut_after` a reset (RST) instead of an orderly close."""

    @classmethod
    def rate_limited(cls, *, retry_after: float = 0.01, **more: str) -> "Reply":
        """
        Answer 429, with the seconds to wait; the SDKs take 0 for nothing said, and wait half a second.
        """
        return cls(status=429, headers={"retry-after": f"{retry_after:g}", **more})

    @classmethod
    def redirect(cls, location: str, *, status: int = 307) -> "Reply":
        """
        Send the client elsewhere.
        """
        return cls(status=status, headers={"location": location}, body=b"")

    @property
    def ordinary(self) -> bool:
        """Whether this is the provider's own answer, to be sent in one go."""
        return self == _ORDINARY


_ORDINARY = Reply()


def malformed_after(count: int) -> Edit:
    """
    Put a frame that is no JSON behind the first `count` frames.
    """
    return lambda frames: _insert(frames, count, (b'data: {"cut": \n\n',))


def error_after(count: int, message: str = "The server had an error while processing your request.") -> Edit:
    """
    End a stream after `count` frames with an error frame in the provider's manner.
    """

    def edit(frames: list[bytes]) -> list[bytes]:
        named = frames[0].startswith(b"event: message_start")
        return [*frames[:count], _anthropic_error(message) if named else _openai_error(message)]

    return edit


def _insert(frames: list[bytes], at: int, new: Sequence[bytes]) -> list[bytes]:
    return [*frames[:at], *new, *frames[at:]]


def _openai_error(message: str) -> bytes:
    return b'data: {"error":{"message":"%s","type":"server_error","param":null,"code":null}}\n\n' % message.encode()


def _anthropic_error(message: str) -> bytes:
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"%s"}}' % message.encode()
    return b"event: error\ndata: " + error + b"\n\n"
