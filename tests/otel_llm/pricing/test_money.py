"""Money for people."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.pricing.money import dollars


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal(0), "$0.00"),
        (Decimal("2.5"), "$2.50"),
        (Decimal("0.125"), "$0.125"),
        (Decimal("0.000123"), "$0.000123"),
        (Decimal("1.23E-7"), "$0.000000123"),
        (Decimal("0.00000123456"), "$0.00000123"),
        (Decimal("12.3456789"), "$12.345679"),
        (Decimal("1E+6"), "$1000000.00"),
        (Decimal("-0.5"), "-$0.50"),
        (0.1, "$0.10"),
        (1e-05, "$0.00001"),
    ],
)
def test_money_is_plain_decimals(amount, text):
    """
    At least cents, no more digits than needed, never an exponent.
    """
    assert dollars(amount) == text


def test_a_column_can_ask_for_more_decimals():
    """
    Amounts under one another line up.
    """
    assert dollars(Decimal("0.002"), 6) == "$0.002000"


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False))
def test_what_is_shown_is_right_to_three_digits(amount):
    """
    Rounding never hides more than half a unit of the third digit, nor of the sixth decimal.
    """
    shown = Decimal(dollars(amount).removeprefix("$"))
    assert abs(shown - amount) <= min(Decimal("0.0000005"), max(amount / 100, Decimal(0)))
