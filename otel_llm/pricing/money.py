"""Money in words that people read: plain decimals, never an exponent."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

_EXACT: Final = Context(prec=100, rounding=ROUND_HALF_EVEN)
_CENTS: Final = 2
_MICROS: Final = 6
_SIGNIFICANT: Final = 3


def dollars(amount: Decimal | float, decimals: int = _CENTS) -> str:
    """
    Write US dollars with at least `decimals` decimals and no more than needed: `$2.50`, `$0.000123`.

    Rounds to six decimals, or to three significant digits where six would hide the amount.
    """
    exact = amount if isinstance(amount, Decimal) else Decimal(repr(amount))
    places = max(_MICROS, _SIGNIFICANT - 1 - exact.adjusted()) if exact else decimals
    digits = format(exact.copy_abs().quantize(Decimal(1).scaleb(-places), context=_EXACT), "f")
    whole, _, fraction = digits.partition(".")
    sign = "-" if exact < 0 else ""
    return f"{sign}${whole}.{fraction.rstrip('0').ljust(decimals, '0')}"
