"""
Metrics of the application's own, on the meter that ours are on.

They may be made at any time, also before otel-llm is switched on: the API's instruments turn into real ones as soon as
there is a provider. Each measurement carries the labels in force that `metric_labels` allows, and its own attributes;
texts are bounded as those of our metrics are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from opentelemetry import metrics
from opentelemetry.util.types import AttributeValue

from otel_llm import pipeline
from otel_llm.telemetry.semconv import SCHEMA_URL
from otel_llm.telemetry.spans import SCOPE

Attributes = Mapping[str, AttributeValue]


def counter(name: str, *, unit: str = "1", description: str = "") -> "Counter":
    """
    Give the counter of that name, a new one when it is asked for first.

    Args:
        name: Such as `shop.answers.rated`.
        unit: By UCUM: `s`, `By`, `{answer}`.
        description: One sentence for whoever reads dashboards.
    """
    return _once(Counter, name, lambda meter: Counter(meter.create_counter(name, unit, description)))


def histogram(
    name: str, *, unit: str = "1", description: str = "", buckets: Sequence[float] | None = None
) -> "Histogram":
    """
    Give the histogram of that name, a new one when it is asked for first.

    Args:
        name: Such as `shop.answer.rating`.
        unit: By UCUM: `s`, `By`, `{answer}`.
        description: One sentence for whoever reads dashboards.
        buckets: Upper bounds of its buckets; the SDK's own when not given.
    """
    return _once(
        Histogram,
        name,
        lambda meter: Histogram(
            meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=buckets)
        ),
    )


class Counter:
    """
    Counts what happens.
    """

    def __init__(self, instrument: metrics.Counter) -> None:
        self._instrument = instrument

    def add(self, amount: float = 1, attributes: Attributes | None = None) -> None:
        """
        Count so much more.
        """
        self._instrument.add(amount, _surrounded(attributes))


class Histogram:
    """
    Keeps how values are spread.
    """

    def __init__(self, instrument: metrics.Histogram) -> None:
        self._instrument = instrument

    def record(self, value: float, attributes: Attributes | None = None) -> None:
        """
        Take one more value.
        """
        self._instrument.record(value, _surrounded(attributes))


_Made = TypeVar("_Made", Counter, Histogram)
_made: Final[dict[tuple[type, str], Any]] = {}


def _once(kind: type[_Made], name: str, make: Callable[[metrics.Meter], _Made]) -> _Made:
    """
    Spare the API an instrument for each time that one is asked for: it keeps them all.
    """
    found: _Made | None = _made.get((kind, name))
    if found is not None:
        return found
    made: _Made = _made.setdefault(
        (kind, name), make(metrics.get_meter(SCOPE, pipeline.VERSION, schema_url=SCHEMA_URL))
    )
    return made


def _surrounded(attributes: Attributes | None) -> Attributes:
    running = pipeline.current()
    return running.metric_attributes(attributes or {}) if running is not None else attributes or {}
