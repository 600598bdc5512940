"""OpenTelemetry log records and `Event`s, and the processors that turn the one into the other."""

import contextlib
from collections.abc import Callable
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span

from otel_llm.capture.harmless import harmless
from otel_llm.telemetry.event import EVENT_NAME, Event, Resource, Scope, new_event_id
from otel_llm.telemetry.safe_values import safe, safe_name, safe_text
from otel_llm.telemetry.semconv import EVENT_ID, OPERATION

_NOT_CALLS = frozenset({"gen_ai.client.operation.exception"})

Emitted = ReadWriteLogRecord | ReadableLogRecord


def is_call_record(record: Emitted) -> bool:
    """
    Tell a GenAI call's record, ours or another instrumentation's, from all other logs of the application.
    """
    log_record = record.log_record
    if log_record.event_name == EVENT_NAME:
        return True
    return OPERATION in (log_record.attributes or {}) and log_record.event_name not in _NOT_CALLS


def event_of(record: Emitted) -> Event:
    """
    Give a log record as an event; one without an id gets one, which it keeps for exporters that see it later.
    """
    log_record = record.log_record
    if isinstance(record, CallRecord):
        attributes = log_record.attributes.copy()  # type: ignore[union-attr] # of both kinds that it may be
    else:
        _make_safe(log_record)
        attributes = dict(log_record.attributes or {})
    event_id = attributes.get(EVENT_ID)
    if not isinstance(event_id, str):
        event_id = attributes[EVENT_ID] = new_event_id()
        log_record.attributes[EVENT_ID] = event_id  # type: ignore[index]
    observed = log_record.observed_timestamp or 0
    severity = log_record.severity_number
    return Event(
        event_id,
        log_record.event_name or EVENT_NAME,
        log_record.timestamp or observed,
        observed,
        severity.value if severity is not None else 0,
        log_record.severity_text or "",
        attributes,
        f"{log_record.trace_id:032x}" if log_record.trace_id else "",
        f"{log_record.span_id:016x}" if log_record.span_id else "",
        int(log_record.trace_flags or 0),
        log_record.body,
        resource_of(record.resource),
        _scope_of(record.instrumentation_scope),
    )


def _make_safe(record: Any) -> None:
    """
    Replace what no reader could take in another instrumentation's record, for the exporters that see it later, too.
    """
    record.event_name = safe_name(record.event_name)
    record.severity_text = safe_name(record.severity_text)
    record.timestamp = _safe_moment(record.timestamp)
    record.observed_timestamp = _safe_moment(record.observed_timestamp)
    record.body = safe(record.body)
    attributes = dict(record.attributes or {})
    replaced = safe(attributes)
    if replaced is not attributes:
        record.attributes = replaced


def _safe_moment(moment: int | None) -> int | None:
    return moment if moment is None or 0 <= moment < _LAST_MOMENT else None


_LAST_MOMENT = 2**63


_BLANK = vars(LogRecord(context=Context()))
"""The fields of a log record, and what is in them when nothing is told."""


class Details(LogRecord):
    """
    A call's log record; `told` are its fields but for the ids, which `span` has.

    It knows how to be copied, which every batch processor does, without the detour of pickling.
    """

    def __init__(self, span: Span, **told: Any) -> None:
        ids = span.get_span_context()
        self.__dict__ = {
            **_BLANK,
            **told,
            "trace_id": ids.trace_id,
            "span_id": ids.span_id,
            "trace_flags": ids.trace_flags,
        }

    def __copy__(self) -> "Details":
        twin = object.__new__(Details)
        twin.__dict__ = self.__dict__.copy()
        return twin


class CallRecord(ReadWriteLogRecord):
    """
    Our own record on its way through the SDK.

    Its attributes are plain values within all bounds, so the SDK need not clean them again, which would cost more than
    all the rest of emitting.
    """

    def __init__(self, record: LogRecord, resource: SdkResource, scope: InstrumentationScope, limits: Any) -> None:
        self.log_record = record
        self.resource = resource
        self.instrumentation_scope = scope
        self.limits = limits


class _Processor(LogRecordProcessor):
    """
    One that has nothing waiting.
    """

    def shutdown(self) -> None:
        """
        Do nothing: delivery has its own end.
        """

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        """
        Say that nothing is waiting here: what was taken is in the journal.
        """
        return True


class SafeRecords(_Processor):
    """
    Makes other instrumentations' GenAI records such that no exporter loses the batch around them.
    """

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if not isinstance(log_record, CallRecord) and is_call_record(log_record):
            self._make_safe(log_record)

    @harmless
    def _make_safe(self, log_record: ReadWriteLogRecord) -> None:
        _make_safe(log_record.log_record)

    def join(self, provider: LoggerProvider) -> None:
        """
        Take the first place among the provider's processors: a batch processor keeps a copy of what it is given.
        """
        provider.add_log_record_processor(self)
        with contextlib.suppress(AttributeError):  # the SDK has no word for it
            several = provider._multi_log_record_processor  # noqa: SLF001
            with several._lock:  # noqa: SLF001
                others = [each for each in several._log_record_processors if each is not self]  # noqa: SLF001
                several._log_record_processors = (self, *others)  # noqa: SLF001


class EventProcessor(_Processor):
    """
    Hands every GenAI call's record to `take`, before `emit` returns.
    """

    def __init__(self, take: Callable[[Event], object]) -> None:
        self._take = take

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if isinstance(log_record, CallRecord):
            self._take(event_of(log_record))
        elif is_call_record(log_record):
            self._take_other(log_record)

    @harmless
    def _take_other(self, log_record: ReadWriteLogRecord) -> None:
        self._take(event_of(log_record))


_resources: dict[int, tuple[SdkResource, Resource]] = {}
_scopes: dict[tuple[str, str], Scope] = {}


def resource_of(resource: SdkResource | None) -> Resource:
    """
    Give the SDK's resource in our form; each one is read once.
    """
    if resource is None:
        return _NO_RESOURCE
    known = _resources.get(id(resource))
    if known is None or known[0] is not resource:
        ours = Resource(safe(dict(resource.attributes)), safe_text(resource.schema_url))
        _resources[id(resource)] = known = (resource, ours)
    return known[1]


_NO_RESOURCE = Resource()


def _scope_of(scope: Any) -> Scope:
    if scope is None:
        return Scope()
    key = (safe_text(scope.name), safe_text(scope.version or ""))
    return _scopes.get(key) or _scopes.setdefault(key, Scope(*key))
