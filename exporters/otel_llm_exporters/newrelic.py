"""
New Relic: sends records to its Log API.

A log has a readable line as its message, the document of the record's format as attributes, and the ids of trace and
span by which New Relic shows it in context. A request holds at most 1 MB before compression; a larger batch goes
in several. In a log of more than that the longest texts are cut: they end in `… [truncated]` then, and
`otel_llm.truncated` is true. New Relic itself keeps 4,094 characters of an attribute searchable, and 255 attributes.

What becomes of a batch when New Relic answers:

| status | the batch |
| --- | --- |
| 2xx | is delivered |
| 400, 413, 422 | is halved until the record at fault is alone, which goes to the dead letters |
| 401, 403 | waits, and is tried again at long intervals: the key is wrong |
| all others, or none | is sent again |

A record that is older than 48 hours goes to the dead letters: New Relic may drop it without a word.

New Relic itself was never met: this was tested with a server of ours that holds to the limits that New Relic documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx2

from otel_llm.delivery.http_address import Url, check_scheme
from otel_llm.delivery.http_client import HttpOptions
from otel_llm.delivery.http_intake import Intake, from_json, line
from otel_llm.delivery.http_limits import Entry, entry
from otel_llm.delivery.sink import Record
from otel_llm.settings.secret import Secret

MOST_ENTRY_BYTES: Final = 900_000

_URLS: Final[Mapping[str, str]] = {
    "us": "https://log-api.newrelic.com/log/v1",
    "eu": "https://log-api.eu.newrelic.com/log/v1",
    "gov": "https://gov-log-api.newrelic.com/log/v1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewrelicOptions(HttpOptions):
    """
    Options of the sink `newrelic`.

    ```yaml
    sinks:
      newrelic:
        api_key_file: /run/secrets/newrelic
        region: eu
    ```

    ```yaml wrong
    sinks:
      newrelic: {api_key: abc, region: asia}
    ```
    """

    api_key: Secret
    """The license key."""
    region: Literal["us", "eu", "gov"] = "us"
    """Where the account is: `us`, `eu` or `gov`."""
    url: Url | None = None
    """Another URL than that of the region, such as that of a proxy of yours."""
    compression: Literal["none", "gzip"] = "gzip"
    """How bodies are compressed: `none` or `gzip`."""

    def __post_init__(self) -> None:
        HttpOptions.__post_init__(self)
        if self.url is not None:
            check_scheme(self.url, allow_http=self.allow_http)


class NewrelicSink(Intake):
    """
    Sends each batch in as many requests as the limits ask for.
    """

    Options = NewrelicOptions

    # The limits of https://docs.newrelic.com/docs/logs/log-api/introduction-log-api/.
    vendor = "New Relic"
    most_request_bytes = 1_000_000
    oldest_seconds = 48 * 3600

    def __init__(self, options: NewrelicOptions) -> None:
        url = options.url or Secret(_URLS[options.region])
        super().__init__(httpx2, options, url, {"api-key": options.api_key.reveal()})

    def entry(self, record: Record) -> Entry:
        event = record.event
        found: dict[str, Any] = {
            "event_id": event.id,
            "service.name": event.resource.attributes.get("service.name"),
            "hostname": event.resource.attributes.get("host.name"),
            "trace.id": event.trace_id,
            "span.id": event.span_id,
        }
        attributes = {name: value for name, value in found.items() if value} | from_json(record.body)
        log = {"timestamp": event.timestamp_ns // 1_000_000, "message": line(event), "attributes": attributes}
        return entry(log, MOST_ENTRY_BYTES)

    def body(self, entries: Sequence[bytes]) -> bytes:
        return b'[{"logs":[' + b",".join(entries) + b"]}]"
