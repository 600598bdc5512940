"""
What a server's answer means for the batch that was posted.

| status | the batch |
| --- | --- |
| 2xx | is delivered |
| 400, 413, 422 | is rejected: its courier halves it until the record at fault is alone |
| 401, 403, 407 | waits until the credentials are right |
| 410 | stays in the journal, and the sink is off |
| all others, redirects too | is sent again, after as long as `Retry-After` asks for |
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from otel_llm.call import Content
from otel_llm.capture.quotation import unquoted
from otel_llm.delivery.sink import DELIVERED, Outcome, Receipt, Rejected, Retry
from otel_llm.errors import ReceiverGone, Unauthorized
from otel_llm.telemetry.redaction import MASK

REJECTED: Final = frozenset({400, 413, 422})
REFUSED: Final = frozenset({401, 403, 407})
GONE: Final = 410

_EXCERPT: Final = 200
"""Characters of an answer that an error quotes."""
_SHORTEST_SECRET: Final = 4


class Answer(Struct, frozen=True):
    """
    One answer, read up to a limit.
    """

    status: int
    headers: Mapping[str, str] = {}
    """Names in lower case."""
    body: bytes = b""
    host: str = "the server"
    sent: bytes = b""
    """What was posted, so that an error does not quote it."""
    secrets: Sequence[str] = ()
    """What the request carried besides, and an error must not show."""

    @property
    def ok(self) -> bool:
        """Whether the server took it."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of success

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait, given as a number or as a date."""
        told = self.headers.get("retry-after", "").strip()
        seconds = _number(told)
        if seconds is None and (moment := _moment(told)) is not None:
            # Both dates are of the server's clock, which may differ from ours.
            now = _moment(self.headers.get("date", "")) or datetime.now(UTC)
            seconds = max(0.0, (moment - now).total_seconds())
        return seconds

    def __str__(self) -> str:
        told = self.excerpt()
        return f"{self.status} {_phrase(self.status)} from {self.host}" + (f": {told}" if told else "")

    def excerpt(self) -> str:
        """
        Give the beginning of the body on one line, without what it quotes of the request.
        """
        text = " ".join(self.body[: 4 * _EXCERPT].decode(errors="replace").split())
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK) if len(secret) >= _SHORTEST_SECRET else text
        shown = unquoted(text[:_EXCERPT], Content(input_messages=[{"sent": self.sent.decode(errors="replace")}]))
        return "".join(character if character.isprintable() else "�" for character in shown)


def receipt(answer: Answer) -> Receipt:
    """
    Say what became of the batch; raises `Unauthorized` or `ReceiverGone` where no other batch would do better.
    """
    return Receipt(outcome(answer))


def outcome(answer: Answer) -> Outcome:
    """
    Say what became of each record that was posted; raises as `receipt` does.
    """
    if answer.ok:
        return DELIVERED
    if answer.status in REJECTED:
        return Rejected(str(answer))
    if answer.status in REFUSED:
        raise Unauthorized(str(answer))
    if answer.status == GONE:
        raise ReceiverGone(str(answer))
    return Retry(answer.retry_after, str(answer))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _number(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
