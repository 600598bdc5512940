"""
What there is to tell of a finished call, worked out when somebody asks.

Exporters ask on threads of their own, for a whole batch; the thread that made the call need not wait for its price and
its sixty attributes. A journal, or a processor that looks at once, asks at once. Nobody can tell the difference: who
reads an attribute finds it.
"""

from collections.abc import Callable

from msgspec import Struct

from otel_llm.call import Call, Content
from otel_llm.pricing.book import BOOK_LOADING
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.content import as_json, content_attributes
from otel_llm.telemetry.event import new_event_id
from otel_llm.telemetry.record import Attributes, described, recorded
from otel_llm.telemetry.redaction import Redactor
from otel_llm.telemetry.safe_values import safe_call, safe_content

Price = Callable[[Call], Cost]


class Terms(Struct, frozen=True):
    """
    What holds for all accounts of a process; content is put where it is wanted, if it is captured.
    """

    price: Price
    redactor: Redactor
    content_on_span: bool
    content_on_event: bool


class Bill(Struct, eq=False):
    """
    A call and what it cost.
    """

    _sum_up: Callable[[], Call] | None
    _price: Price
    _call: Call | None = None
    _cost: Cost | None = None

    def told(self) -> tuple[Call, Cost]:
        """
        Give the call, such that everybody can be told of it, and its cost, as far as that is known by now.
        """
        sum_up = self._sum_up
        if sum_up is not None:
            # Two who ask at the same time may both do it; the order of these lines keeps either from finding nothing.
            self._call = safe_call(sum_up())
            self._sum_up = None
        call, cost = self._call, self._cost
        assert call is not None  # noqa: S101 - it was summed up before
        if cost is None or cost.unknown_reason == BOOK_LOADING:
            self._cost = cost = self._price(call)
        return call, cost


class Account(Struct, eq=False):
    """
    All that span and record are told of a call besides what the span was told when it started.
    """

    _bill: Bill
    _content: Callable[[], Content] | None
    _terms: Terms
    _shared: tuple[Attributes, Call, Cost] | None = None
    _said: Attributes | None = None

    def of_span(self) -> Attributes:
        """
        Give what only the end of the call could tell its span.
        """
        attributes, _, _ = self._told()
        return attributes | as_json(self._content_attributes()) if self._terms.content_on_span else attributes

    def of_record(self) -> Attributes:
        """
        Give what only the end of the call could tell its record.
        """
        shared, call, cost = self._told()
        attributes = shared | recorded(call, cost, new_event_id(), self._terms.redactor)
        return attributes | self._content_attributes() if self._terms.content_on_event else attributes

    def _told(self) -> tuple[Attributes, Call, Cost]:
        if self._shared is None:
            call, cost = self._bill.told()
            self._shared = described(call, cost), call, cost
        return self._shared

    def _content_attributes(self) -> Attributes:
        if self._content is None:
            return {}
        if self._said is None:
            self._said = content_attributes(safe_content(self._content()), self._terms.redactor)
        return self._said
