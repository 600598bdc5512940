"""JSONL files: a folder of stores, each with one file per UTC date, and old files deleted."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from otel_llm.delivery import files
from otel_llm.delivery.sink import Batch, BlockingSink, Receipt, Record
from otel_llm.formats import otel
from otel_llm.formats.moment import with_milliseconds
from otel_llm.telemetry.event import Event
from otel_llm.usage.retention import expire

_REQUEST = frozenset({"gen_ai.input.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions"})
_RESPONSE = frozenset({"gen_ai.output.messages"})
_EPOCH = date(1970, 1, 1)
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlOptions:
    """
    Options of the sink `jsonl`.

    ```yaml
    sinks:
      jsonl:
        path: /var/log/llm
        usage_retention_days: 90
        debug_enabled: true
    ```

    ```yaml wrong
    sinks:
      jsonl: {usage_retention_days: a month}
    ```
    """

    path: str = "./data/logs"
    """The folder of the stores `usage`, `errors` and `debug`."""
    usage_enabled: bool = True
    """Whether every call is written to the store `usage`, in the sink's format."""
    usage_path: str = ""
    """Another folder for the store `usage`."""
    usage_retention_days: int = 30
    """Days after which its files are deleted; 0: never. The same for the other stores."""
    errors_enabled: bool = True
    """Whether failed calls are written to the store `errors`, too."""
    errors_path: str = ""
    """Another folder for the store `errors`."""
    errors_retention_days: int = 90
    """Days after which its files are deleted."""
    debug_enabled: bool = False
    """Whether whole records are written to the store `debug`, with the content that was captured."""
    debug_path: str = ""
    """Another folder for the store `debug`."""
    debug_retention_days: int = 7
    """Days after which its files are deleted."""
    debug_capture_requests: bool = True
    """Whether `debug` keeps prompts."""
    debug_capture_responses: bool = True
    """Whether `debug` keeps answers."""
    sync: bool = False
    """Whether to wait until the disk has a batch, so that no power cut takes it; goes with `durability: always`."""


@dataclass(frozen=True, slots=True)
class _Store:
    folder: Path
    retention_days: int


class JsonlSink(BlockingSink):
    """
    Appends to each file once per batch, under a lock that other processes respect.
    """

    Options = JsonlOptions

    def __init__(self, options: JsonlOptions) -> None:
        self._options = options
        self._stores = dict(_stores(options))
        self._hidden = (frozenset() if options.debug_capture_requests else _REQUEST) | (
            frozenset() if options.debug_capture_responses else _RESPONSE
        )
        self._expired_on: date | None = None

    def open(self) -> None:
        for store in self._stores.values():
            store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._expire()

    def send(self, batch: Batch) -> Receipt:
        self._expire()
        lines: defaultdict[tuple[str, int], list[bytes]] = defaultdict(list)
        for record in batch.records:
            day = _started_ns(record.event) // _DAY_NS
            for name, body in self._entries(record):
                lines[name, day].append(body)
        for (name, day), bodies in lines.items():
            files.append_lines(self._file(name, day), b"\n".join([*bodies, b""]), synced=self._options.sync)
        return Receipt.delivered()

    def close(self) -> None:
        """
        Do nothing: no file stays open between batches.
        """

    def _file(self, name: str, day: int) -> Path:
        return self._stores[name].folder / f"{_EPOCH + timedelta(day)}.jsonl"

    def _entries(self, record: Record) -> Iterator[tuple[str, bytes]]:
        if "usage" in self._stores:
            yield "usage", record.body
        if "errors" in self._stores and _has_failed(record.event):
            yield "errors", _to_json(_error_entry(record.event))
        if "debug" in self._stores:
            yield "debug", otel.encode(_without(record.event, self._hidden))

    def _expire(self) -> None:
        today = datetime.now(UTC).date()
        if today == self._expired_on:
            return
        for store in self._stores.values():
            expire(store.folder, store.retention_days, today)
        self._expired_on = today


def _stores(options: JsonlOptions) -> Iterator[tuple[str, _Store]]:
    root = Path(options.path).expanduser()
    if options.usage_enabled:
        yield "usage", _Store(Path(options.usage_path or root / "usage"), options.usage_retention_days)
    if options.errors_enabled:
        yield "errors", _Store(Path(options.errors_path or root / "errors"), options.errors_retention_days)
    if options.debug_enabled:
        yield "debug", _Store(Path(options.debug_path or root / "debug"), options.debug_retention_days)


def _started_ns(event: Event) -> int:
    start = event.get("otel_llm.start_time_unix_nano")
    return start if isinstance(start, int) else event.timestamp_ns


def _has_failed(event: Event) -> bool:
    return event.get("error.type") is not None or event.get("otel_llm.status", "success") not in {
        "success",
        "cancelled",
    }


def _error_entry(event: Event) -> dict[str, object]:
    """
    Say what is known of a failure; the bodies only when content was captured.
    """
    entry = {
        "id": event.get("otel_llm.request.id") or event.id,
        "eventId": event.id,
        "timestamp": with_milliseconds(_started_ns(event)),
        "requestedModel": event.get("gen_ai.request.model"),
        "provider": event.get("gen_ai.provider.name"),
        "model": event.get("gen_ai.response.model") or event.get("gen_ai.request.model"),
        "status": event.get("otel_llm.status"),
        "errorType": event.get("error.type"),
        "errorMessage": event.get("otel_llm.error.message") or event.get("exception.message"),
        "httpStatus": event.get("http.response.status_code"),
        "stack": event.get("exception.stacktrace"),
    }
    bodies = {
        "requestBody": event.get("gen_ai.input.messages"),
        "responseBody": event.get("gen_ai.output.messages"),
    }
    return entry | {name: body for name, body in bodies.items() if body is not None}


def _without(event: Event, hidden: frozenset[str]) -> Event:
    if not hidden:
        return event
    return event.with_attributes({name: value for name, value in event.attributes.items() if name not in hidden})


_to_json = msgspec.json.Encoder(decimal_format="number").encode
