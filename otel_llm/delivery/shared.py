"""
The one delivery of a process, whoever asks for it: the pipeline, or exporters that OpenTelemetry's set-up makes.

A sink that is named both ways is one sink. Records reach it through the processor of the pipeline (`take`) or through
an exporter (`offer`); what was taken is only acknowledged when it is offered.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Final

from opentelemetry import metrics

from otel_llm import diagnostics
from otel_llm.delivery import native, process, self_metrics, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.settings import Loaded, load
from otel_llm.telemetry.event import Event
from otel_llm.telemetry.semconv import SCHEMA_URL
from otel_llm.telemetry.spans import SCOPE

REMEMBERED: Final = 50_000
"""Ids of records that were taken, kept to know them again."""

_lock = native.new_lock()
process.hold_at_fork(_lock)
_exporters: dict[str, Mapping[str, object]] = {}
_delivery: Delivery | None = None
_started = False
_taken: OrderedDict[str, object] = OrderedDict()
_described: OrderedDict[str, None] = OrderedDict()


def exporters() -> Mapping[str, Mapping[str, object]]:
    """
    Give the sinks that exporters stand for, with their options.
    """
    return _exporters


def register(sink: str, options: Mapping[str, object]) -> None:
    """
    Note that OpenTelemetry's configuration names a sink; two with different options are two sinks.
    """
    setup.service_name()
    with _lock:
        name = _name(sink, options)
        if name in _exporters:
            return
        _exporters[name] = {**options, "type": sink}
    if _started:
        _add(name)


def start(
    loaded: Loaded,
    *,
    reprice: Callable[[Event], Event] | None = None,
    last_words: Callable[[], None] | None = None,
) -> Delivery | None:
    """
    Give the process's delivery, made from the settings when it is first asked for; None when there is no sink.
    """
    global _delivery, _started  # noqa: PLW0603 - there is one per process
    with _lock:
        _started = True
        if _delivery is None:
            _delivery = setup.delivery(loaded, reprice=reprice, last_words=last_words)
            if _delivery is not None:
                meter = metrics.get_meter(SCOPE, version("otel-llm"), schema_url=SCHEMA_URL)
                self_metrics.observe(meter, _delivery.stats, self_metrics.limits(loaded.settings))
        return _delivery


def stop(timeout: float) -> bool:
    """
    Shut the process's delivery down, so that another one can be started.
    """
    global _delivery, _started
    with _lock:
        delivery, _delivery, _started = _delivery, None, False
    return delivery.shutdown(timeout) if delivery is not None else True


def flush(timeout: float) -> bool:
    """
    Wait until every sink has what was recorded so far; False when the time (seconds) is up before.
    """
    return _delivery.flush(timeout) if _delivery is not None else True


def flush_at_exit() -> bool:
    """
    Flush within what is left of the time that the process's exit may take.
    """
    return _delivery.flush_at_exit() if _delivery is not None else True


def take(event: Event) -> None:
    """
    Put an event into the journal unless it is there already.
    """
    if _delivery is not None and _is_new(event.id) and not _is_told(event):
        _delivery.append(event)


def offer(event: Event) -> None:
    """
    Put an event into the journal unless it is there already, also where no pipeline runs.
    """
    if not _started:
        _start_alone()
    take(event)


def _is_new(event_id: str) -> bool:
    token = object()
    if _taken.setdefault(event_id, token) is not token:
        return False
    if len(_taken) > REMEMBERED:
        _taken.popitem(last=False)
    return True


def _is_told(event: Event) -> bool:
    """
    Tell whether this is another instrumentation's record of a call that ours describes: ours is the first to be made.
    """
    names = tuple(_names(event))
    if event.scope.name != SCOPE:
        return any(name in _described for name in names)
    for name in names:
        _described[name] = None
        if len(_described) > REMEMBERED:
            _described.popitem(last=False)
    return False


def _names(event: Event) -> Iterator[str]:
    """
    Give what two records of one call have in common: the span, if both are on the same one; the answer's id.
    """
    if event.span_id:
        yield event.trace_id + event.span_id
    answer = event.get("gen_ai.response.id")
    if isinstance(answer, str):
        yield event.trace_id + answer


def _start_alone() -> None:
    loaded = load(exporters=_exporters)
    diagnostics.set_level(loaded.settings.log_level)
    diagnostics.report(loaded.problems)
    start(loaded)


def _name(sink: str, options: Mapping[str, object]) -> str:
    """
    Give the name of the sink with these options: the sink's own for the first, a numbered one for others.
    """
    number = 1
    name = sink
    while name in _exporters and dict(_exporters[name]) != {**options, "type": sink}:
        number += 1
        name = f"{sink}-{number}"
    return name


def _add(name: str) -> None:
    loaded = load(exporters=_exporters)
    diagnostics.report(loaded.problems)
    if _delivery is None:
        start(loaded)
        return
    for spec in setup.sink_specs(sink for sink in loaded.sinks if sink.name == name):
        _delivery.add_sink(spec)
