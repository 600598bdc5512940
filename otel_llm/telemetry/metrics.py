"""
A few metrics per call, under the released names of the conventions or the next ones.

Every histogram is recorded once per call, never per chunk: time per output chunk is the call's mean. What the SDK does
with a measurement costs more than all the rest of a call together, so calls wait until metrics are collected, or until
there are enough of them for a thread of ours: off the threads that make calls.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from otel_llm.call import Call
from otel_llm.diagnostics import report_failure
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.account import Bill
from otel_llm.telemetry.cardinality import Cardinality
from otel_llm.telemetry.record import Attributes, started
from otel_llm.telemetry.semconv import (
    DURATION_BUCKETS,
    ERROR_TYPE,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SERVER_ADDRESS,
    SERVER_PORT,
    TOKEN_BUCKETS,
)

MetricNames = Literal["released", "next"]

_CHOSEN = frozenset({REQUEST_MODEL, RESPONSE_MODEL})
"""Attributes whose values are the callers' choice."""

_INFERENCE = frozenset({"chat", "text_completion", "generate_content"})

ENOUGH: Final = 512
"""Waiting calls that are worth a thread's turn."""

MAX_WAITING: Final = 1024
"""Calls that may wait; where the thread cannot keep up, or there can be none, each new call records the two oldest."""

_LONGEST_MEASUREMENT: Final = 1.0
"""Seconds to wait for the thread to be done with the call it has in hand."""


class Metrics:
    """
    The instruments of one meter; `labels` are those that may become metric attributes.

    Of each label, and of the names of models, which callers choose as well, the first `values` are told.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        names: MetricNames = "released",
        labels: Sequence[str] = (),
        values: int = 100,
    ) -> None:
        self._labels = frozenset(labels)
        self._cardinality = Cardinality(meter, values)
        self._set = _Released(meter) if names == "released" else _Next(meter)
        self._cost = meter.create_counter("otel_llm.cost", unit="{USD}", description="Money spent on provider calls.")
        # It never has a value: that somebody asks for one tells us that metrics are being collected.
        meter.create_observable_gauge("otel_llm.collection", callbacks=[_catch_up])

    def attributes(self, own: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
        """
        Give the attributes of a measurement of somebody else's on our meter: his own, and the labels that are allowed.
        """
        return {**self._cardinality.all_bounded(own), **self._label_attributes(labels)}

    def record(self, bill: Bill, *, metered: bool = True) -> None:
        """
        Count one finished call; with `metered` false only its cost, as somebody else records the rest.
        """
        context = otel_context.get_current()  # with the call's own span in it, that would wait, too
        _waiting.append((self, bill, context, metered))
        waiting = len(_waiting)
        if waiting >= ENOUGH:
            _clerk().call()
        if waiting > MAX_WAITING:
            _record_oldest()
            _record_oldest()

    def measure(self, call: Call, cost: Cost, context: Context, *, metered: bool) -> None:
        """
        Give one call to the instruments; `context` is that in which it ended, for exemplars.
        """
        attributes = self._attributes(call)
        if cost.total:
            self._cost.add(float(cost.total), attributes, context)  # type: ignore[arg-type]
        if not metered:
            return
        if call.server_address is not None:
            attributes = {**attributes, SERVER_ADDRESS: call.server_address}
            if call.server_port is not None:
                attributes[SERVER_PORT] = call.server_port
        self._set.record(call, attributes, context)

    def _attributes(self, call: Call) -> Attributes:
        attributes = started(call.operation, call.provider, call.request_model, None, None)
        if call.response_model is not None:
            attributes[RESPONSE_MODEL] = call.response_model
        for name in _CHOSEN & attributes.keys():
            attributes[name] = self._cardinality.bounded(name, str(attributes[name]))
        return {**attributes, **self._label_attributes(call.labels)}

    def _label_attributes(self, labels: Mapping[str, str]) -> dict[str, str]:
        names = {name: f"otel_llm.label.{name}" for name in self._labels & labels.keys()}
        return {full: self._cardinality.bounded(full, labels[name]) for name, full in names.items()}


_waiting: deque[tuple[Metrics, Bill, Context, bool]] = deque()
"""Of all meters together: an SDK keeps the first callback of an instrument, whoever made it."""


class _Clerk:
    """
    The thread that records what is waiting.
    """

    def __init__(self) -> None:
        self._unstarted = [threading.Thread(target=self._work, name="otel-llm-metrics", daemon=True)]
        self._called = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    def call(self) -> None:
        """
        Let the thread go through what is waiting.
        """
        if not self._called.is_set():
            self._called.set()
            self._start()

    def wait(self) -> None:
        """
        Wait until the thread has no call in hand.
        """
        self._idle.wait(_LONGEST_MEASUREMENT)

    def _start(self) -> None:
        with suppress(IndexError, RuntimeError):  # started already; or the process ends and no thread can be
            self._unstarted.pop().start()

    def _work(self) -> None:
        while self._called.wait():
            self._idle.clear()
            self._called.clear()
            while _record_oldest():
                time.sleep(0)  # calls come first
            self._idle.set()


_clerks: dict[Literal["only"], _Clerk] = {}
"""Made when it is first needed: a lock made before gevent patches threads would stop them all."""


def _clerk() -> _Clerk:
    return _clerks.get("only") or _clerks.setdefault("only", _Clerk())


def _begin_anew() -> None:
    _waiting.clear()  # what waits is the parent's to count
    _clerks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def catch_up() -> None:
    """
    Record what is waiting now.
    """
    while _record_oldest():
        pass
    if "only" in _clerks:
        _clerks["only"].wait()


def _catch_up(_options: CallbackOptions) -> Iterable[Observation]:
    catch_up()
    return ()


def _record_oldest() -> bool:
    try:
        metrics, bill, context, metered = _waiting.popleft()
    except IndexError:
        return False
    try:
        metrics.measure(*bill.told(), context, metered=metered)
    except Exception as error:  # noqa: BLE001 - who collects, or what thread this is, cannot help it
        report_failure("metrics", error)
    return True


class _Released:
    """
    The names that dashboards of today read.
    """

    def __init__(self, meter: Meter) -> None:
        self._duration = _seconds(meter, "gen_ai.client.operation.duration", "GenAI operation duration.")
        self._first = _seconds(
            meter, "gen_ai.client.operation.time_to_first_chunk", "Time to receive the first chunk of a stream."
        )
        self._chunk = _seconds(
            meter, "gen_ai.client.operation.time_per_output_chunk", "Mean time per output chunk after the first."
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        # The conventions had no place for it yet: it is part of the input, so it must not be one more type of token.
        self._cached = meter.create_counter(
            "otel_llm.cache_read.input_tokens",
            unit="{token}",
            description="Input tokens that the provider read from its prompt cache.",
        )

    def record(self, call: Call, attributes: Attributes, context: Context) -> None:
        _record_durations(call, attributes, context, self._duration, self._first, self._chunk)
        if not call.billable:
            return
        if call.usage.cache_read_tokens:
            self._cached.add(call.usage.cache_read_tokens, attributes, context)  # type: ignore[arg-type]
        for kind, count in (("input", call.usage.input_tokens), ("output", call.usage.output_tokens)):
            if count is not None:
                self._tokens.record(count, {**attributes, "gen_ai.token.type": kind}, context)  # type: ignore[dict-item]


class _Next:
    """
    The names that the conventions' main branch has.
    """

    def __init__(self, meter: Meter) -> None:
        self._operation = _seconds(meter, "gen_ai.client.operation.duration", "GenAI operation duration.")
        self._inference = _seconds(meter, "gen_ai.client.inference.duration", "GenAI client inference duration.")
        self._first = _seconds(
            meter, "gen_ai.client.inference.time_to_first_chunk", "Time to receive the first chunk of a stream."
        )
        self._chunk = _seconds(
            meter, "gen_ai.client.inference.time_per_output_chunk", "Mean time per output chunk after the first."
        )
        self._counters = {field: _tokens(meter, name, what) for field, (name, what) in _COUNTERS.items()}
        self._histograms = {
            field: meter.create_histogram(
                f"gen_ai.client.inference.operation.{field}",
                unit="{token}",
                description=f"The number of {field.replace('_', ' ')} of an operation.",
                explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
            )
            for field in ("input_tokens", "output_tokens")
        }

    def record(self, call: Call, attributes: Attributes, context: Context) -> None:
        inference = call.operation in _INFERENCE
        duration = self._inference if inference else self._operation
        _record_durations(call, attributes, context, duration, self._first, self._chunk)
        if inference and call.billable:
            self._record_tokens(call, attributes, context)

    def _record_tokens(self, call: Call, attributes: Attributes, context: Context) -> None:
        for field, counter in self._counters.items():
            for modality, count in _by_modality(call, field):
                counter.add(count, {**attributes, "gen_ai.token.modality": modality}, context)  # type: ignore[dict-item]
        failed = {**attributes, ERROR_TYPE: call.failure.type} if call.failure else attributes
        for field, histogram in self._histograms.items():
            histogram.record(getattr(call.usage, field) or 0, failed, context)  # type: ignore[arg-type]


_COUNTERS = {
    "input_tokens": ("usage.input_tokens", "The number of input tokens used, cached ones included."),
    "output_tokens": ("usage.output_tokens", "The number of output tokens used, reasoning included."),
    "cache_read_tokens": ("usage.cache_read.input_tokens", "The number of input tokens served from a cache."),
    "cache_write_tokens": ("usage.cache_write.input_tokens", "The number of input tokens written to a cache."),
    "reasoning_tokens": ("usage.reasoning.output_tokens", "The number of output tokens spent on reasoning."),
}
_SPLIT = frozenset({"input_tokens", "output_tokens", "cache_read_tokens"})
_ALWAYS = frozenset({"input_tokens", "output_tokens"})


def _by_modality(call: Call, field: str) -> list[tuple[str, int]]:
    """
    Split a count by modality where the provider did; the rest is `unknown`, and so is the 0 of a call without usage.
    """
    total: int | None = getattr(call.usage, field)
    if total is None:
        return [("unknown", 0)] if field in _ALWAYS else []
    parts = [
        (modality, count)
        for modality in ("text", "audio", "image")
        if field in _SPLIT and (count := getattr(call.usage, f"{modality}_{field}"))
    ]
    rest = total - sum(count for _, count in parts)
    return [*parts, ("unknown", rest)] if rest > 0 or not parts else parts


def _record_durations(
    call: Call, attributes: Attributes, context: Context, duration: Histogram, first: Histogram, chunk: Histogram
) -> None:
    failed = {**attributes, ERROR_TYPE: call.failure.type} if call.failure else attributes
    duration.record(call.duration_ns / 1e9, failed, context)  # type: ignore[arg-type]
    if call.first_chunk_ns is not None:
        first.record(call.first_chunk_ns / 1e9, attributes, context)  # type: ignore[arg-type]
    if call.chunk_interval_ns is not None:
        chunk.record(call.chunk_interval_ns / 1e9, attributes, context)  # type: ignore[arg-type]


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=DURATION_BUCKETS
    )


def _tokens(meter: Meter, name: str, description: str) -> Counter:
    return meter.create_counter(f"gen_ai.client.inference.{name}", unit="{token}", description=description)
