"""Frames of a journal made into what one sink gets: chosen, changed, counted and encoded."""

import logging
from collections.abc import Callable

from otel_llm.delivery.diagnosis import facts, place
from otel_llm.delivery.frames import Frame
from otel_llm.delivery.route import Rate, Route
from otel_llm.delivery.sink import Record
from otel_llm.delivery.spec import SinkSpec
from otel_llm.delivery.stats import Ledger
from otel_llm.telemetry.event import Event

logger = logging.getLogger(__name__)

Reprice = Callable[[Event], Event]

_UNKNOWN_REASON = "otel_llm.cost.unknown_reason"


class Parcel:
    """
    One record on its way.
    """

    __slots__ = ("attempts", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.attempts = 0


class Packer:
    """
    Packs for one sink; `bury` is given an event that its format cannot take, and the reason.
    """

    def __init__(
        self, spec: SinkSpec, ledger: Ledger, reprice: Reprice | None, bury: Callable[[Event, str], None]
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._reprice = reprice
        self._bury = bury
        self._route = Route(spec)
        self._rate = Rate(spec.max_rate) if spec.max_rate else None
        self._last: tuple[Frame, Parcel | None] | None = None

    def pack(self, frame: Frame) -> Parcel | None:
        """
        Give a frame's parcel; None when it is settled here. The same frame, asked for again, is not counted again.
        """
        if self._last is None or self._last[0] is not frame:
            self._last = frame, self._packed(frame)
        return self._last[1]

    def _packed(self, frame: Frame) -> Parcel | None:
        try:
            event = frame.event or Event.decode(frame.payload)
        except (ValueError, RecursionError):  # what msgspec raises over bytes that are no event
            self._ledger.drop("corrupt")
            return None
        copy = self._route.apply(self._priced(event))
        if copy is None:
            self._ledger.filter()
            return None
        if self._rate is not None and not self._rate.allows():
            self._ledger.drop("max_rate")
            return None
        return self._encoded(copy)

    def _priced(self, event: Event) -> Event:
        if self._reprice is None or event.attributes.get(_UNKNOWN_REASON) != "book_loading":
            return event
        try:
            return self._reprice(event)
        except Exception as error:  # noqa: BLE001 - a price is not worth a record
            logger.error("an event could not be priced afterwards, it goes without a cost: %s", place(error))  # noqa: TRY400
            return event

    def _encoded(self, copy: Event) -> Parcel | None:
        try:
            body = self._spec.encoder(copy)
        except Exception as error:  # noqa: BLE001 - one record that no format can take must not hold up the rest
            self._bury(copy, f"cannot be encoded: {facts(error)}")
            return None
        return Parcel(Record(copy, body, self._spec.content_type))
