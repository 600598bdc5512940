"""The requests that one batch takes, a lane for each ordering key, and what their answers say of each record."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.api_core.exceptions import Forbidden, InvalidArgument, NotFound, Unauthenticated
from google.pubsub_v1.types import PublishRequest, PubsubMessage
from msgspec import Struct

from otel_llm.delivery import template
from otel_llm.delivery.diagnosis import facts
from otel_llm.delivery.sink import DELIVERED, Batch, Outcome, Receipt, Record, Rejected, Retry
from otel_llm.errors import Unauthorized
from otel_llm_exporters.pubsub_options import PubsubOptions

MOST_MESSAGES: Final = 1000
MOST_BYTES: Final = 10_000_000
"""Of one request: <https://cloud.google.com/pubsub/quotas#resource_limits>."""
VALUE_BYTES: Final = 1024
"""Of an ordering key, and of an attribute's value."""

_MESSAGE_OVERHEAD: Final = 8
"""Bytes that a message costs in a request besides its own."""

_Message: Final = PubsubMessage.pb()
_Request: Final = PublishRequest.pb()


class Entry(Struct, frozen=True):
    """
    One record as Pub/Sub takes it, and its place in the batch.
    """

    place: int
    message: Any
    size: int


class Requests:
    """
    One batch: its lanes, and its receipt when they have been sent.
    """

    def __init__(self, batch: Batch, options: PubsubOptions) -> None:
        self._outcomes: list[Outcome] = [DELIVERED] * len(batch.records)
        self._most = MOST_BYTES - len(options.topic.encode()) - _MESSAGE_OVERHEAD
        keys: dict[str, list[Entry]] = {}
        for place, record in enumerate(batch.records):
            entry = _entry(place, record, options)
            if entry.size > self._most:
                self._outcomes[place] = Rejected(f"{entry.size} bytes, and Pub/Sub takes {self._most} in one message")
                continue
            keys.setdefault(entry.message.ordering_key, []).append(entry)
        self.lanes = [Lane(options, self._split(entries, options), self._outcomes) for entries in keys.values()]

    def receipt(self) -> Receipt:
        """
        Say what became of the batch; raises `Unauthorized` where nothing was taken.
        """
        refusal = next((lane.refusal for lane in self.lanes if lane.refusal is not None), None)
        if refusal is not None and DELIVERED not in self._outcomes:
            raise refusal
        return Receipt(self._outcomes)

    def _split(self, entries: Sequence[Entry], options: PubsubOptions) -> Iterator[list[Entry]]:
        request: list[Entry] = []
        size = 0
        for entry in entries:
            if request and (
                len(request) == min(MOST_MESSAGES, options.flow_control_max) or size + entry.size > self._most
            ):
                yield request
                request, size = [], 0
            request.append(entry)
            size += entry.size
        yield request


class Lane:
    """
    The requests of one ordering key, to be sent one after another.
    """

    def __init__(self, options: PubsubOptions, requests: Iterator[list[Entry]], outcomes: list[Outcome]) -> None:
        self.refusal: Unauthorized | None = None
        self._options = options
        self._left = deque(requests)
        self._outcomes = outcomes
        self._sent: list[Entry] = []

    @property
    def size(self) -> int:
        """Messages of the last request."""
        return len(self._sent)

    def next(self) -> bytes | None:
        """
        Give the next request, encoded; None when there is nothing more to send.
        """
        if not self._left:
            return None
        self._sent = self._left.popleft()
        messages = [entry.message for entry in self._sent]
        request: bytes = _Request(topic=self._options.topic, messages=messages).SerializeToString()
        return request

    def failed(self, error: Exception) -> None:
        """
        Note that the last request was not taken.
        """
        if not isinstance(error, InvalidArgument):
            self._stop(error)
        elif len(self._sent) > 1:
            middle = len(self._sent) // 2
            self._left.extendleft((self._sent[middle:], self._sent[:middle]))
        else:
            (entry,) = self._sent
            self._outcomes[entry.place] = Rejected(f"Pub/Sub does not take its {entry.size} bytes: INVALID_ARGUMENT")

    def _stop(self, error: Exception) -> None:
        """
        Send no more of this key: its order would be lost.
        """
        reason = _reason(error, self._options)
        if _is_refusal(error):
            self.refusal = Unauthorized(reason)
        for request in (self._sent, *self._left):
            for entry in request:
                self._outcomes[entry.place] = Retry(_asked_to_wait(error), reason)
        self._left.clear()


def _entry(place: int, record: Record, options: PubsubOptions) -> Entry:
    event = record.event
    attributes = {"event_id": event.id, "event_type": event.type, "content_type": record.content_type}
    if event.trace_id:
        attributes["traceparent"] = f"00-{event.trace_id}-{event.span_id}-{event.trace_flags:02x}"
    for name, value in options.attributes.items():
        attributes[name] = _cut(template.fill(event, value))
    key = _cut(template.fill(event, options.ordering_key)) if options.ordering_key else ""
    message = _Message(data=record.body, attributes=attributes, ordering_key=key)
    return Entry(place, message, message.ByteSize() + _MESSAGE_OVERHEAD)


def _cut(text: str) -> str:
    return text.encode(errors="replace")[:VALUE_BYTES].decode(errors="ignore")


def _reason(error: Exception, options: PubsubOptions) -> str:
    if _has_no_token(error):
        return f"no access token for {options.topic}"
    if _is_refusal(error):
        return f"Pub/Sub does not accept our credentials for {options.topic}: {facts(error)}"
    if isinstance(error, NotFound):
        return f"there is no {options.topic}: {facts(error)}"
    return f"{facts(error)} for {options.topic}"


def _is_refusal(error: Exception) -> bool:
    if _has_no_token(error):
        return _REVOKED.search(str(error)) is not None
    return isinstance(error, Unauthenticated | Forbidden)


def _has_no_token(error: Exception) -> bool:
    return "Getting metadata from plugin failed" in str(error)


_REVOKED: Final = re.compile(
    r"\b(access_denied|invalid_client|invalid_grant|invalid_scope|invalid_target|unauthorized_client)\b"
)
"""What OAuth says when the credentials themselves are wrong."""


def _asked_to_wait(error: Exception) -> float | None:
    """
    Give the seconds of a google.rpc.RetryInfo.
    """
    for detail in getattr(error, "details", ()):
        delay = getattr(detail, "retry_delay", None)
        if delay is not None:
            return float(delay.seconds + delay.nanos / 1e9)
    return None
