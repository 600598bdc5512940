"""The arithmetic behind a cost, line by line."""

from decimal import Decimal
from typing import NamedTuple

from otel_llm.call import Call
from otel_llm.pricing.card import EXACT, Rates
from otel_llm.pricing.cost import Cost


class Line(NamedTuple):
    """
    So many units at this price.
    """

    number: int
    what: str
    """`input`, `cache read`, `web search`, …"""
    price: Decimal
    """USD for `per` of them."""
    per: int
    amount: Decimal
    """Before the discount."""


def explain(call: Call, cost: Cost) -> list[Line]:
    """
    Give the products whose sum, times the discount factor, is the cost; none where the provider told only a total.
    """
    return [
        Line(
            count,
            unit.words,
            EXACT.multiply(cost.unit_prices[unit.name], Decimal(unit.per)),
            unit.per,
            EXACT.multiply(cost.unit_prices[unit.name], Decimal(count)),
        )
        for unit, count in Rates(cost.unit_prices).counts(call.usage)
        if count
    ]
