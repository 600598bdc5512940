"""
A bound on how many values of one attribute metrics tell apart.

Every value is a time series of its own, for as long as the process lives, here and in the database that keeps metrics.
The SDK has a limit, too (2,000 points of one instrument), but beyond it a point loses all its attributes: what tenants
without number cost could not be told by model any more.
"""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.metrics import Meter

from otel_llm.telemetry.safe_values import safe_text

OVERFLOW: Final = "otel.metric.overflow"
"""What stands for all values beyond the bound."""


class Cardinality:
    """
    Tells the first `limit` values of each attribute; those beyond are `OVERFLOW`, and counted.
    """

    def __init__(self, meter: Meter, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, _Values] = {}
        self._overflowed = meter.create_counter(
            "otel_llm.metric.overflow",
            unit="{value}",
            description="Values of attributes that were not told apart any more, by attribute.",
        )

    def bounded(self, name: str, value: str) -> str:
        """
        Give the value as metrics may tell it.
        """
        values = self._values.get(name) or self._values.setdefault(name, _Values(self._limit))
        if value in values or values.takes(value := safe_text(value)):
            return value
        self._overflowed.add(1, {"otel_llm.metric.attribute": name})
        return OVERFLOW

    def all_bounded(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """
        Give the attributes with each text bounded.
        """
        return {
            name: self.bounded(name, value) if isinstance(value, str) else value for name, value in attributes.items()
        }


class _Values:
    """
    The values that were told so far, never more than the limit, whatever threads come; no lock is taken.
    """

    def __init__(self, limit: int) -> None:
        self._known: set[str] = set()
        self._places = iter(range(limit))

    def __contains__(self, value: str) -> bool:
        return value in self._known

    def takes(self, value: str) -> bool:
        """
        Tell whether it is one of them, or becomes one.
        """
        if value in self._known:
            return True
        if next(self._places, None) is None:
            return False
        self._known.add(value)
        return True
