"""
A rate card: the prices of one model at one time, made once and then multiplied for every call.

Arithmetic has its own decimal context, because the application may have set its thread's to anything.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from operator import attrgetter
from typing import Any, Final, NamedTuple

from otel_llm.call import Usage
from otel_llm.pricing.cost import Cost, CostSource
from otel_llm.pricing.units import BY_NAME, UNITS, Unit, innermost_first

EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])
"""Wide enough that no product or sum of a call is ever rounded."""

_ZERO: Final = Decimal(0)
_ALWAYS_NAMED: Final = ("input", "output", "web_search")


class Band(NamedTuple):
    """
    The unit prices of calls with more than `above` input tokens.
    """

    above: int
    prices: Mapping[str, Decimal]
    """USD per single unit, by unit name."""


class Unpriced:
    """
    Stands where a rate card would, for calls that have none.
    """

    __slots__ = ("_cost",)

    def __init__(self, reason: str) -> None:
        self._cost = Cost.unknown(reason)

    def price(self, usage: Usage) -> Cost:  # noqa: ARG002 - answers like a rate card
        """
        Give an unknown cost and why.
        """
        return self._cost


class RateCard:
    """
    All prices of one model for one kind of call.
    """

    __slots__ = ("_above", "_factor", "_rates", "_source", "_version")

    def __init__(
        self,
        bands: Sequence[Band],
        *,
        label: str,
        source: CostSource,
        version: str | None,
        factor: Decimal | None = None,
        separate: Sequence[str] = (),
    ) -> None:
        """
        `separate` names units that must not be charged at the price of the unit around them.
        """
        self._above = tuple(band.above for band in bands[1:])
        self._rates = tuple(Rates(band.prices, label, separate) for band in bands)
        self._source = source
        self._version = version
        self._factor = factor

    def price(self, usage: Usage) -> Cost:
        """
        Multiply; the cost is unknown where a count has no price or the counts contradict each other.
        """
        rates = self._rates[bisect_left(self._above, usage.input_tokens or 0)] if self._above else self._rates[0]
        parts = rates.parts(usage)
        if isinstance(parts, str):
            return Cost.unknown(parts)
        discount = None if self._factor is None else _discount(parts, self._factor)
        return Cost(
            total=_sum(parts),
            source=self._source,
            discount=discount,
            discount_factor=self._factor,
            unit_prices=rates.prices,
            price_version=self._version,
            **parts,
        )


class _Term(NamedTuple):
    part: str
    price: Decimal
    inside: tuple[int, ...]
    """Which of the terms before it lie inside it, directly or not."""


class Rates:
    """
    The prices of one band, in the order in which they are charged.
    """

    __slots__ = ("_missing", "_read", "_read_missing", "_request", "_terms", "_units", "label", "prices")

    def __init__(self, prices: Mapping[str, Decimal], label: str = "", separate: Sequence[str] = ()) -> None:
        self.prices = dict(prices)
        self.label = label
        self._request = prices.get("request")
        self._units = tuple(unit for unit in innermost_first(prices) if unit.field)
        self._terms = tuple(self._term(position, unit) for position, unit in enumerate(self._units))
        self._read = _reader(self._units)
        self._missing = tuple(BY_NAME[name] for name in (*_ALWAYS_NAMED, *separate) if name not in prices)
        self._read_missing = _reader(self._missing)

    def parts(self, usage: Usage) -> dict[str, Any] | str:
        """
        Charge every count to its part of the cost, or say why that cannot be done.
        """
        if any(self._read_missing(usage)):
            return self._what_is_missing(usage)
        parts: dict[str, Decimal] = {} if self._request is None else {"requests": self._request}
        left: list[int] = []
        for count, (part, price, inside) in zip(self._read(usage), self._terms, strict=True):
            rest = count or 0
            for position in inside:
                rest -= left[position]
            if rest < 0:
                return f"usage contradicts itself: {self._units[len(left)].field} is less than what it includes"
            left.append(rest)
            if count is not None:
                amount = EXACT.multiply(price, rest)
                parts[part] = EXACT.add(parts[part], amount) if part in parts else amount
        return parts

    def counts(self, usage: Usage) -> list[tuple[Unit, int]]:
        """
        Give how many of each unit are charged at its own price.
        """
        left: list[int] = []
        for count, term in zip(self._read(usage), self._terms, strict=True):
            left.append((count or 0) - sum(left[position] for position in term.inside))
        once = [] if self._request is None else [(BY_NAME["request"], 1)]
        return sorted([*zip(self._units, left, strict=True), *once], key=lambda pair: UNITS.index(pair[0]))

    def _term(self, position: int, unit: Unit) -> _Term:
        inside = tuple(i for i, other in enumerate(self._units[:position]) if unit.kind < other.kind)
        return _Term(unit.part, self.prices[unit.name], inside)

    def _what_is_missing(self, usage: Usage) -> str:
        counts = zip(self._missing, self._read_missing(usage), strict=True)
        words = next(unit.words for unit, count in counts if count)
        return f"no price for {words} of {self.label}"


def _reader(units: Sequence[Unit]) -> Callable[[Usage], Sequence[int | None]]:
    fields = [unit.field for unit in units]
    if not fields:
        return lambda _usage: ()
    if len(fields) == 1:
        return lambda usage: (getattr(usage, fields[0]),)
    return attrgetter(*fields)


def _sum(parts: Mapping[str, Decimal]) -> Decimal:
    total = _ZERO
    for amount in parts.values():
        total = EXACT.add(total, amount)
    return total


def _discount(parts: dict[str, Decimal], factor: Decimal) -> Decimal:
    """
    Lower every part to what is paid of it; give what that took off.
    """
    before = _sum(parts)
    for part, amount in parts.items():
        parts[part] = EXACT.multiply(amount, factor)
    return EXACT.subtract(before, _sum(parts))
