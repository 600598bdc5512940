"""
The counts of every sink as OpenTelemetry metrics: the SDK's own names where it has one, ours (`otel_llm.*`) besides.

All are observable instruments: they cost nothing until somebody collects. One look at the books serves a collection, so
that the sum which holds in `stats()` holds among the values, too. Metrics go where the application's metrics go, never
through a sink.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Literal, NamedTuple, get_args

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otel_llm.delivery import process
from otel_llm.delivery.stats import SinkStats, State
from otel_llm.settings import Settings
from otel_llm.telemetry.semconv import ERROR_TYPE

Books = Mapping[str, SinkStats]
Point = tuple[int | float, Mapping[str, str]]
"""A value, and what tells it from the other values of the same metric and sink."""
Series = tuple[str, tuple[tuple[str, str], ...]]
"""A sink, and what tells its values of one metric from each other."""

COMPONENT_TYPE: Final = "otel_llm_sink"
QUEUE_FULL: Final = "queue_full"
"""What the conventions call every record that was dropped for want of room."""

_ROOM: Final = frozenset({"journal_full", "buffer_full"})
_SHARED_SECONDS: Final = 1.0


class Limits(NamedTuple):
    """
    How much may wait: in records where memory is the journal, else in bytes.
    """

    records: int | None = None
    bytes: int | None = None


class Metric(NamedTuple):
    """
    One instrument, and what it shows of a sink's counts.
    """

    name: str
    kind: Literal["counter", "up_down_counter", "gauge"]
    unit: str
    description: str
    points: Callable[[SinkStats], Iterable[Point]]


def limits(settings: Settings) -> Limits:
    """
    Give the limits that the settings set.
    """
    if settings.durability == "memory":
        return Limits(records=settings.buffer_size)
    return Limits(bytes=settings.journal_max_bytes)


def observe(meter: Meter, stats: Callable[[], Books], within: Limits) -> None:
    """
    Show the counts that `stats` gives to whoever collects this meter's metrics, in place of those shown before.

    Counters go on from where those stood: nobody may see one fall.
    """
    _reading.turn_to(stats, within)
    # An SDK keeps the first callback of an instrument: these know only `_reading`, which is always the latest.
    for metric in METRICS:
        create = getattr(meter, f"create_observable_{metric.kind}")
        create(metric.name, callbacks=[partial(_observe, metric)], unit=metric.unit, description=metric.description)
    for name, unit, description, value in _OF_THE_JOURNAL:
        meter.create_observable_up_down_counter(
            name, callbacks=[partial(_observe_journal, name, value)], unit=unit, description=description
        )


class _Reading:
    """
    One look at the books, which serves each instrument once and not for long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats: Callable[[], Books] = dict
        self._served: set[str] = set()
        self._books: Books = {}
        self._read_at = 0.0
        self._ended: dict[str, Counter[Series]] = {}
        """What the counters of ended deliveries came to."""
        self.limits = Limits()
        process.on_fork(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # whoever held it is the parent's thread
        self._ended = {}

    def turn_to(self, stats: Callable[[], Books], limits: Limits) -> None:
        with self._lock:
            books = self._stats()
            self._ended = {metric.name: self._all(metric, books) for metric in METRICS if metric.kind == "counter"}
            self._stats, self.limits = stats, limits
            self._read_at = 0.0

    def books(self, metric: str) -> Books:
        with self._lock:
            now = time.monotonic()
            if metric in self._served or now - self._read_at > _SHARED_SECONDS:
                self._books, self._read_at = self._stats(), now
                self._served.clear()
            self._served.add(metric)
            return self._books

    def points(self, metric: Metric) -> Mapping[Series, int | float]:
        books = self.books(metric.name)
        return self._all(metric, books) if metric.kind == "counter" else _points(metric, books)

    def _all(self, metric: Metric, books: Books) -> "Counter[Series]":
        found = Counter(self._ended.get(metric.name))
        found.update(_points(metric, books))
        return found


_reading = _Reading()


def _observe(metric: Metric, _options: CallbackOptions) -> Iterator[Observation]:
    standard = metric.name.startswith("otel.sdk.")
    for (sink, attributes), value in _reading.points(metric).items():
        identity = _component(sink) if standard else {"otel_llm.sink.name": sink}
        yield Observation(value, {**identity, **dict(attributes)})


def _points(metric: Metric, books: Books) -> dict[Series, int | float]:
    told = [(sink, point) for sink, stats in books.items() for point in metric.points(stats)]
    return {(sink, tuple(attributes.items())): value for sink, (value, attributes) in told}


def _observe_journal(
    name: str, value: Callable[[Books, Limits], int | None], _options: CallbackOptions
) -> Iterator[Observation]:
    found = value(_reading.books(name), _reading.limits)
    if found is not None:
        yield Observation(found)


def _component(sink: str) -> dict[str, str]:
    return {"otel.component.type": COMPONENT_TYPE, "otel.component.name": f"{COMPONENT_TYPE}/{sink}"}


def _field(name: str) -> Callable[[SinkStats], Iterable[Point]]:
    return lambda stats: [(getattr(stats, name), {})]


def _exported(stats: SinkStats) -> Iterator[Point]:
    yield stats.events_sent, {}
    if stats.dead:
        yield stats.dead, {ERROR_TYPE: "rejected"}


def _processed(stats: SinkStats) -> Iterator[Point]:
    yield stats.events_sent + stats.filtered + stats.dead, {}
    if lost := sum(count for reason, count in stats.events_dropped.items() if reason in _ROOM):
        yield lost, {ERROR_TYPE: QUEUE_FULL}
    for reason, count in stats.events_dropped.items():
        if reason not in _ROOM:
            yield count, {ERROR_TYPE: reason}


def _capacity(_stats: SinkStats) -> Iterator[Point]:
    if _reading.limits.records is not None:
        yield _reading.limits.records, {}


def _dropped(stats: SinkStats) -> Iterator[Point]:
    for reason, count in stats.events_dropped.items():
        yield count, {"otel_llm.drop.reason": reason}


def _last_success(stats: SinkStats) -> Iterator[Point]:
    if stats.last_flush_epoch is not None:
        yield stats.last_flush_epoch / 1000, {}


def _states(stats: SinkStats) -> Iterator[Point]:
    for state in get_args(State):
        yield int(stats.state == state), {"otel_llm.sink.state": state}


METRICS: Final = (
    Metric(
        "otel.sdk.exporter.log.exported",
        "counter",
        "{log_record}",
        "The number of log records for which the export has finished, either successful or failed.",
        _exported,
    ),
    Metric(
        "otel.sdk.exporter.log.inflight",
        "up_down_counter",
        "{log_record}",
        "The number of log records which were passed to the exporter, but that have not been exported yet (neither"
        " successful, nor failed).",
        _field("events_in_flight"),
    ),
    Metric(
        "otel.sdk.processor.log.processed",
        "counter",
        "{log_record}",
        "The number of log records for which the processing has finished, either successful or failed.",
        _processed,
    ),
    Metric(
        "otel.sdk.processor.log.queue.size",
        "up_down_counter",
        "{log_record}",
        "The number of log records in the queue of a given instance of an SDK log processor.",
        _field("pending_events"),
    ),
    Metric(
        "otel.sdk.processor.log.queue.capacity",
        "up_down_counter",
        "{log_record}",
        "The maximum number of log records the queue of a given instance of an SDK Log Record processor can hold.",
        _capacity,
    ),
    Metric(
        "otel_llm.sink.produced",
        "counter",
        "{record}",
        "Records that this process made for the sink.",
        _field("events_produced"),
    ),
    Metric(
        "otel_llm.sink.adopted",
        "counter",
        "{record}",
        "Records that dead processes left to this one.",
        _field("adopted"),
    ),
    Metric(
        "otel_llm.sink.filtered",
        "counter",
        "{record}",
        "Records that the sink's `where` or `sample` left out.",
        _field("filtered"),
    ),
    Metric("otel_llm.sink.dropped", "counter", "{record}", "Records that were lost, by reason.", _dropped),
    Metric("otel_llm.sink.dead", "counter", "{record}", "Records that went to the dead letters.", _field("dead")),
    Metric("otel_llm.sink.retried", "counter", "{record}", "Records sent once more, each time.", _field("retried")),
    Metric(
        "otel_llm.sink.batches", "counter", "{batch}", "Batches of which something arrived.", _field("batches_sent")
    ),
    Metric(
        "otel_llm.sink.batches_in_flight",
        "up_down_counter",
        "{batch}",
        "Batches that are being sent.",
        _field("batches_in_flight"),
    ),
    Metric("otel_llm.sink.send_errors", "counter", "{error}", "Sends that failed as a whole.", _field("send_errors")),
    Metric(
        "otel_llm.sink.oldest_pending",
        "gauge",
        "s",
        "The age of the oldest record that the sink still waits for.",
        _field("oldest_pending_seconds"),
    ),
    Metric(
        "otel_llm.sink.last_success",
        "gauge",
        "s",
        "When a batch arrived last, in seconds since 1970.",
        _last_success,
    ),
    Metric("otel_llm.sink.state", "up_down_counter", "{sink}", "1 for the state that the sink is in, else 0.", _states),
)
"""What is told of every sink."""

_OF_THE_JOURNAL: Final[tuple[tuple[str, str, str, Callable[[Books, Limits], int | None]], ...]] = (
    (
        "otel_llm.journal.size",
        "By",
        "What the journals that this process holds take.",
        lambda books, _limits: max((stats.journal_bytes for stats in books.values()), default=None),
    ),
    ("otel_llm.journal.limit", "By", "What the journals may take.", lambda _books, limits: limits.bytes),
)
"""What is told once, as all sinks share one journal."""
