"""
Splunk: sends records to an HTTP Event Collector.

An event is the document of the record's format, at the time of the call, with event id, trace id and span id as indexed
fields. A request holds at most 1 MB before compression, which every Splunk takes; a batch that is larger goes in
several. In an event of more than that the longest texts are cut: they end in `… [truncated]` then, and
`otel_llm.truncated` is true.

What becomes of a batch when Splunk answers:

| status | the batch |
| --- | --- |
| 2xx | is delivered |
| 400 because of the index or the channel | is sent again: that is no matter of the records |
| 400, 413, 422 | is halved until the record at fault is alone, which goes to the dead letters |
| 401, 403 | waits, and is tried again at long intervals: the token is wrong |
| all others, or none | is sent again |

A token with indexer acknowledgement is not supported: what Splunk has answered counts as delivered.

Splunk itself was never met: this was tested with a server of ours that follows the documentation of the HTTP Event
Collector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import httpx2
import msgspec

from otel_llm.delivery.http_address import Url, check_scheme
from otel_llm.delivery.http_answer import Answer
from otel_llm.delivery.http_client import HttpOptions
from otel_llm.delivery.http_intake import Intake, from_json, to_json
from otel_llm.delivery.http_limits import Entry, entry
from otel_llm.delivery.sink import Record
from otel_llm.errors import NotDelivered
from otel_llm.settings.secret import Secret

MOST_ENTRY_BYTES: Final = 900_000

_BAD_REQUEST: Final = 400
_NOT_ITS_FAULT: Final = frozenset({7, 10, 11})
"""Codes of answers that mean a wrong index, and a channel that is missing or wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplunkHecOptions(HttpOptions):
    """
    Options of the sink `splunk_hec`.

    ```yaml
    sinks:
      splunk_hec:
        url: https://http-inputs-shop.splunkcloud.com/services/collector/event
        token_file: /run/secrets/splunk
        index: llm
    ```

    ```yaml wrong
    sinks:
      splunk_hec: {url: splunk.example.com, token: abc}
    ```
    """

    url: Url
    """Where to send: the whole URL, which ends in `/services/collector/event`."""
    token: Secret
    """The token of the collector."""
    index: str = ""
    """The index; by default the token's."""
    source: str = "otel-llm"
    """The `source` of the events."""
    sourcetype: str = "_json"
    """The `sourcetype` of the events."""
    host: str = ""
    """The `host` of the events; by default the resource's `host.name`."""
    compression: Literal["none", "gzip"] = "gzip"
    """How bodies are compressed: `none` or `gzip`."""

    def __post_init__(self) -> None:
        HttpOptions.__post_init__(self)
        check_scheme(self.url, allow_http=self.allow_http)


class SplunkHecSink(Intake):
    """
    Sends each batch in as many requests as the limits ask for.
    """

    Options = SplunkHecOptions

    vendor = "Splunk"
    most_request_bytes = 1_000_000

    def __init__(self, options: SplunkHecOptions) -> None:
        self._options = options
        super().__init__(httpx2, options, options.url, {"authorization": f"Splunk {options.token.reveal()}"})

    async def post(self, entries: Sequence[bytes]) -> Answer:
        answer = await super().post(entries)
        if answer.status == _BAD_REQUEST and _code(answer.body) in _NOT_ITS_FAULT:
            raise NotDelivered(str(answer))
        return answer

    def entry(self, record: Record) -> Entry:
        event, options = record.event, self._options
        told = {
            "time": f"{event.timestamp_ns / 1e9:.3f}",
            "host": options.host or event.resource.attributes.get("host.name"),
            "source": options.source,
            "sourcetype": options.sourcetype,
            "index": options.index,
        }
        ids = {"event_id": event.id, "trace_id": event.trace_id, "span_id": event.span_id}
        envelope = {name: value for name, value in told.items() if value}
        fields = {name: value for name, value in ids.items() if value}

        def whole(document: bytes) -> bytes:
            return to_json({**envelope, "fields": fields, "event": msgspec.Raw(document)})

        return entry(from_json(record.body), MOST_ENTRY_BYTES, whole)

    def body(self, entries: Sequence[bytes]) -> bytes:
        return b"\n".join(entries)


class _Told(msgspec.Struct):
    code: int = 0


def _code(body: bytes) -> int:
    try:
        return msgspec.json.decode(body, type=_Told).code
    except msgspec.DecodeError:
        return 0
