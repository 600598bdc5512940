"""
Where the stations are joined: capture, pricing, telemetry and delivery of one process.

A `Pipeline` is the recorder that operations report to. It is started once per process, by the pre-instrument hook, by
`otel_llm.configure()`, or by the first instrumentor; `current()` gives it.
"""

import atexit
from collections.abc import Mapping
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, Final
from weakref import WeakSet

from opentelemetry import _logs, baggage, metrics, trace
from opentelemetry import context as otel_context
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.propagate import inject
from opentelemetry.sdk._logs import LogRecordLimits
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_llm import diagnostics, plugins, switch
from otel_llm.capture.endpoint import Endpoints
from otel_llm.capture.exchange import Exchange
from otel_llm.capture.labels import Surroundings
from otel_llm.capture.observer import Observer
from otel_llm.capture.operation import Operation
from otel_llm.capture.outcome import Outcome
from otel_llm.delivery import native, process, shared
from otel_llm.delivery.stats import SinkStats
from otel_llm.pricing.book import PriceBook
from otel_llm.pricing.operator import OperatorPrices
from otel_llm.settings import Loaded, load
from otel_llm.telemetry.account import Account, Bill, Terms
from otel_llm.telemetry.event import EVENT_NAME, Event, Scope
from otel_llm.telemetry.late_attributes import LATER, NOW
from otel_llm.telemetry.log_record import CallRecord, Details, EventProcessor, SafeRecords, resource_of
from otel_llm.telemetry.metrics import Metrics, catch_up
from otel_llm.telemetry.record import call_of, priced, started
from otel_llm.telemetry.redaction import Redactor
from otel_llm.telemetry.safe_values import safe_name
from otel_llm.telemetry.semconv import EVENT_ID, SCHEMA_URL
from otel_llm.telemetry.spans import (
    SCOPE,
    CallSpan,
    abandon_span,
    close_span,
    note_attempt,
    open_span,
    silence_native_spans,
)

VERSION: Final = version("otel-llm")

_SEVERITIES: Final = {
    "info": ((SeverityNumber.INFO, "INFO"), (SeverityNumber.ERROR, "ERROR")),
    "spec": ((SeverityNumber.DEBUG, "DEBUG"), (SeverityNumber.DEBUG, "DEBUG")),
}
"""Number and text, of calls that went well and of those that failed."""


_MOST_KEPT_BYTES: Final = 64 * 1024
"""Of a call whose content is told later; thousands of them may wait in the queue of a batch processor."""


class Pipeline:
    """
    The road of one process, from settings as `otel_llm.settings.load` gives them.
    """

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings
        diagnostics.set_level(settings.log_level)
        diagnostics.report(loaded.problems)
        self.settings = settings
        self.book = price_book(loaded)
        self.delivery = shared.start(loaded, reprice=partial(reprice, self.book), last_words=self.end_open_calls)
        if not loaded.sinks:
            diagnostics.logger().info(
                "no sink is named, calls go to OpenTelemetry alone; OTEL_LLM_SINKS=sqlite keeps them"
            )
        self._terms = Terms(
            price=lambda call: self.book.price(call, fetched=call.billable),
            redactor=Redactor(settings.redact_patterns),
            content_on_span=settings.content.on_span,
            content_on_event=settings.content.on_event,
        )
        self._severities = _SEVERITIES[settings.record_severity]
        self._tracer = trace.get_tracer(SCOPE, VERSION, schema_url=SCHEMA_URL)
        meter = metrics.get_meter(SCOPE, VERSION, schema_url=SCHEMA_URL)
        self._metrics = Metrics(
            meter,
            names=settings.metric_names,
            labels=settings.metric_labels,
            values=settings.metric_label_values,
        )
        self._logger = _logs.get_logger(SCOPE, VERSION, schema_url=SCHEMA_URL)
        self._processed: Any = None
        self._limits = LogRecordLimits()
        self._surroundings = Surroundings(
            custom_labels=settings.custom_labels,
            context=otel_context.get_value,
            baggage=baggage.get_baggage,
            resource=self._resource.attributes,
        )
        self.observer = Observer(
            Endpoints(plugins.dialects(), capture=settings.capture_hosts, ignore=settings.ignore_hosts),
            self,
            self._surroundings,
            content=settings.content.captured,
            include_usage=settings.include_usage,
            propagate=settings.propagate_trace,
        )
        if settings.native_spans == "replace":
            silence_native_spans()
        self.join_logs()
        # The providers' own exit hooks were registered before, so they run after this one.
        atexit.register(self.end_open_calls)

    def starts(self, operation: Operation) -> bool:
        """
        Open the operation's span; False when somebody asked for silence.
        """
        endpoint, http = operation.endpoint, operation.http
        assert endpoint is not None  # noqa: S101 - an operation starts with its endpoint
        model = safe_name(operation.request.model)
        attributes = started(endpoint.operation, endpoint.provider, model, http.host, http.port)
        name = f"{endpoint.operation} {model}" if model else endpoint.operation
        operation.trace = open_span(self._tracer, name, attributes, operation.started_ns)
        if operation.trace is None:
            return False
        if self.delivery is not None:
            # Not only when the call has ended: at the end of the process it would be too late for threads.
            self.delivery.start()
        return True

    def attach(self, operation: Operation) -> object:
        """
        Make the operation's span the current one; somebody else's is current already.
        """
        call_span: CallSpan = operation.trace
        return otel_context.attach(call_span.context) if call_span.owned else None

    def detach(self, token: object) -> None:
        """
        Undo `attach`.
        """
        if token is not None:
            otel_context.detach(token)  # type: ignore[arg-type]

    def trace_headers(self, operation: Operation) -> dict[str, str]:
        """
        Give the headers that carry the operation's trace context.
        """
        headers: dict[str, str] = {}
        inject(headers, operation.trace.context)
        return headers

    def attempted(self, operation: Operation, exchange: Exchange) -> None:
        """
        Tell somebody else's span, which may end before ours would, how the call stands.
        """
        call_span: CallSpan | None = operation.trace
        if call_span is not None and not call_span.owned:
            note_attempt(call_span, len(operation.ended) + (exchange.end is None), exchange.status)

    def ended(self, operation: Operation, outcome: Outcome) -> None:
        """
        Price, describe and deliver a finished call.
        """
        call_span: CallSpan = operation.trace
        bill = Bill(outcome.sum_up, self._terms.price)
        account = Account(bill, outcome.content, self._terms)
        # A journal asks at once, and large bodies had better not wait.
        tell = LATER if self.delivery is None and outcome.kept_bytes <= _MOST_KEPT_BYTES else NOW
        record = tell.of_record(call_span.attributes, account.of_record)
        # The record comes first: what may happen to span and metrics must not cost it.
        self._emit(outcome, call_span, record)
        message = record.get("otel_llm.error.message") if outcome.failed else None
        close_span(call_span, outcome, account.of_span, message, tell)
        self._metrics.record(bill, metered=call_span.metered)
        # The span's attributes lead to the account, and from there to the operation.
        operation.trace = None

    def failed(self, operation: Operation) -> None:
        """
        End the span of a call that could not be summed up or recorded.
        """
        abandon_span(operation.trace)

    def join_logs(self) -> None:
        """
        Put our processors on the LoggerProvider in force, if it is an SDK's and has none of ours.
        """
        provider = _logs.get_logger_provider()
        if provider is self._processed or not hasattr(provider, "add_log_record_processor"):
            return
        self._processed = provider
        if provider not in _guarded:
            _guarded.add(provider)
            SafeRecords().join(provider)  # type: ignore[arg-type]
        if self.delivery is not None and provider not in _joined:
            _joined.add(provider)
            provider.add_log_record_processor(EventProcessor(shared.take))

    def metric_attributes(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """
        Give the attributes of the application's own measurement, with the labels in force that metrics may carry.
        """
        return self._metrics.attributes(own, self._surroundings.read({}).labels())

    def flush(self, timeout: float) -> bool:
        """
        Wait until every sink has what was recorded so far; False when the time (seconds) is up before.
        """
        self.observer.reaper.drain()
        catch_up()
        return self.delivery.flush(timeout) if self.delivery is not None else True

    def shutdown(self, timeout: float) -> bool:
        """
        Deliver what can be delivered in time (seconds), leave the rest in the journal, and stop.
        """
        self.observer.reaper.drain()
        catch_up()
        atexit.unregister(self.end_open_calls)
        return shared.stop(timeout)

    def end_open_calls(self) -> None:
        """
        Record the calls whose answers are still being read when the process ends.
        """
        self.observer.reaper.end_all()
        catch_up()

    def stats(self) -> dict[str, SinkStats]:
        """
        Give each sink's counts.
        """
        return self.delivery.stats() if self.delivery is not None else {}

    def _emit(self, outcome: Outcome, call_span: CallSpan, attributes: Mapping[str, Any]) -> None:
        severity, severity_text = self._severities[outcome.failed]
        timestamp = outcome.ended_ns
        if self._processed is None:
            self.join_logs()
        if self._processed is None:
            self._append(call_span, attributes, severity, timestamp)
            return
        record = Details(
            call_span.span,
            timestamp=timestamp,
            observed_timestamp=timestamp,
            context=call_span.context,
            severity_number=severity,
            severity_text=severity_text,
            attributes=attributes,
            event_name=EVENT_NAME,
        )
        try:
            # The SDK is spared the cleaning of our attributes, unless the operator has set limits for them.
            if self._limits.max_log_record_attribute_length is None:
                ready = CallRecord(record, self._processed.resource, _SDK_SCOPE, self._limits)
                self._logger.emit(ready)  # type: ignore[call-overload]
            else:
                self._logger.emit(record)
            if outcome.failed and self.settings.exception_event:
                self._logger.emit(self._exception(record, attributes))
        except Exception as error:  # noqa: BLE001 - somebody else's processor, which stands before ours
            diagnostics.report_failure("a log processor", error)
            self._append(call_span, attributes, severity, timestamp)

    def _append(self, call_span: CallSpan, told: Mapping[str, Any], severity: SeverityNumber, timestamp: int) -> None:
        """
        Hand the record to delivery ourselves: no LoggerProvider is set up that would.
        """
        if self.delivery is None:
            return
        context, attributes = call_span.span.get_span_context(), dict(told)
        shared.take(
            Event(
                str(attributes[EVENT_ID]),
                EVENT_NAME,
                timestamp,
                timestamp,
                severity.value,
                severity.name,
                attributes,
                f"{context.trace_id:032x}" if context.is_valid else "",
                f"{context.span_id:016x}" if context.is_valid else "",
                int(context.trace_flags),
                None,
                resource_of(self._resource),
                _SCOPE,
            )
        )

    @staticmethod
    def _exception(record: LogRecord, attributes: Mapping[str, Any]) -> LogRecord:
        names = ("exception.type", "exception.message", "exception.stacktrace", "error.type")
        told = {name: attributes[name] for name in names if name in attributes}
        told.setdefault("exception.type", attributes["error.type"])
        told.setdefault("exception.message", attributes.get("otel_llm.error.message", ""))
        return LogRecord(
            timestamp=record.timestamp,
            observed_timestamp=record.observed_timestamp,
            context=record.context,
            severity_number=SeverityNumber.WARN,
            severity_text=SeverityNumber.WARN.name,
            attributes=told,
            event_name="gen_ai.client.operation.exception",
        )

    @cached_property
    def _resource(self) -> SdkResource:
        resource = getattr(trace.get_tracer_provider(), "resource", None)
        return resource if isinstance(resource, SdkResource) else SdkResource.create()


_SCOPE = Scope(SCOPE, VERSION)
_SDK_SCOPE = InstrumentationScope(SCOPE, VERSION, SCHEMA_URL)

_joined: WeakSet[Any] = WeakSet()
"""The LoggerProviders that have our processor, whichever pipeline runs."""
_guarded: WeakSet[Any] = WeakSet()
"""The LoggerProviders whose records are made safe, also where there is no sink."""

_lock = native.new_lock()
process.hold_at_fork(_lock)
_pipeline: Pipeline | None = None


def current() -> Pipeline | None:
    """
    Give the process's pipeline, if it has been started.
    """
    return _pipeline


def start(code: Mapping[str, Any] | None = None) -> Pipeline | None:
    """
    Start the process's pipeline, or give the one that runs; None when the settings switch otel-llm off.
    """
    global _pipeline  # noqa: PLW0603 - there is one per process
    with _lock:
        if _pipeline is None:
            loaded = load(code, exporters=shared.exporters())
            if loaded.settings.enabled and not switch.sdk_disabled():
                _pipeline = Pipeline(loaded)
        return _pipeline


def stop(timeout: float) -> bool:
    """
    Shut the process's pipeline down, so that another one can be started.
    """
    global _pipeline
    with _lock:
        pipeline, _pipeline = _pipeline, None
    return pipeline.shutdown(timeout) if pipeline is not None else shared.stop(timeout)


def price_book(loaded: Loaded) -> PriceBook:
    """
    Give the price book with the operator's own prices; it is loaded when it is first needed.
    """
    return PriceBook(_operator_prices(loaded))


def reprice(book: PriceBook, event: Event) -> Event:
    """
    Price a call that ended before the price book was loaded.
    """
    book.ensure()
    cost = book.price(call_of(event.attributes), fetched=True)
    return event.with_attributes(priced(event.attributes, cost))


def _operator_prices(loaded: Loaded) -> OperatorPrices:
    settings = loaded.settings
    if settings.prices is not None:
        prices, problems = OperatorPrices.read_file(settings.prices)
    else:
        prices, problems = OperatorPrices.read(settings.pricing, "pricing")
    diagnostics.report(problems)
    return prices
