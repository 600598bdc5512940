"""
Datadog: sends records to its log intake.

A log is the document of the record's format as JSON, which Datadog parses, with a readable line as its `message` and
with Datadog's own ids of trace and span, so that it stands beside them. `ddsource`, `ddtags`, `service`, `hostname` and
`status` are Datadog's attributes; environment and version are taken from the resource, and are tags.

A request holds at most 1,000 logs and 5 MB; a batch that is larger goes in several. In a log of more than 1 MB the
longest texts are cut: they end in `… [truncated]` then, and `otel_llm.truncated` is true.

What becomes of a batch when Datadog answers:

| status | the batch |
| --- | --- |
| 2xx | is delivered |
| 400, 413, 422 | is halved until the record at fault is alone, which goes to the dead letters |
| 401, 403 | waits, and is tried again at long intervals: the API key is wrong |
| all others, or none | is sent again |

A record that is older than 18 hours goes to the dead letters: Datadog would not show it where it belongs.
`otel-llm journal dead` names them.

Datadog itself was never met: this was tested with VictoriaLogs, which takes what Datadog takes, and with a server of
ours that holds to the limits that Datadog documents.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import httpx2

from otel_llm.delivery.http_address import Url, check_scheme
from otel_llm.delivery.http_client import HttpOptions
from otel_llm.delivery.http_intake import Intake, from_json, line, to_json
from otel_llm.delivery.http_limits import Entry, entry
from otel_llm.delivery.sink import Record
from otel_llm.settings.conversion import Unfit, read_text
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import Event

MOST_ENTRY_BYTES: Final = 1_000_000

_LOWER_HALF: Final = (1 << 64) - 1
_ERROR: Final = 17


def read_site(raw: object) -> str:
    """
    Read the name of a Datadog site.
    """
    site = read_text(raw).strip().lower()
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", site):
        raise Unfit("a site such as datadoghq.com, us5.datadoghq.com or datadoghq.eu")
    return site


def read_tag(raw: object) -> str:
    """
    Read one tag.
    """
    tag = read_text(raw).strip()
    if not tag or "," in tag or not tag.isprintable():
        raise Unfit("tags such as team:shop")
    return tag


@dataclass(frozen=True, slots=True, kw_only=True)
class DatadogOptions(HttpOptions):
    """
    Options of the sink `datadog`.

    ```yaml
    sinks:
      datadog:
        api_key_file: /run/secrets/datadog
        site: datadoghq.eu
        tags: [team:shop, tier:gold]
    ```

    ```yaml wrong
    sinks:
      datadog: {api_key: abc, site: "https://app.datadoghq.eu/"}
    ```

    ```yaml wrong
    sinks:
      datadog: {api_key: abc, tags: {team: shop}}
    ```
    """

    api_key: Secret
    """The API key (not an application key)."""
    site: Annotated[str, read_site] = "datadoghq.com"
    """The site that the account is on."""
    url: Url | None = None
    """Another URL than that of the site's intake, such as that of a proxy of yours."""
    source: str = "otel-llm"
    """`ddsource`: what Datadog chooses its pipeline by."""
    service: str = ""
    """`service`; by default the resource's `service.name`."""
    hostname: str = ""
    """`hostname`; by default the resource's `host.name`."""
    tags: tuple[Annotated[str, read_tag], ...] = ()
    """`ddtags`, besides `env` and `version` of the resource."""
    compression: Literal["none", "gzip"] = "gzip"
    """How bodies are compressed: `none` or `gzip`."""

    def __post_init__(self) -> None:
        HttpOptions.__post_init__(self)
        if self.url is not None:
            check_scheme(self.url, allow_http=self.allow_http)


class DatadogSink(Intake):
    """
    Sends each batch in as many requests as the limits ask for.
    """

    Options = DatadogOptions

    # The limits of https://docs.datadoghq.com/api/latest/logs/#send-logs.
    vendor = "Datadog"
    most_entries = 1000
    most_request_bytes = 5_000_000
    oldest_seconds = 18 * 3600

    def __init__(self, options: DatadogOptions) -> None:
        self._options = options
        url = options.url or Secret(f"https://http-intake.logs.{options.site}/api/v2/logs")
        super().__init__(httpx2, options, url, {"dd-api-key": options.api_key.reveal()})

    def entry(self, record: Record) -> Entry:
        document = {**_found(record.event), **from_json(record.body)}
        reserved = self._reserved(record.event)
        return entry(document, MOST_ENTRY_BYTES, lambda told: to_json({**reserved, "message": told.decode()}))

    def _reserved(self, event: Event) -> dict[str, Any]:
        """
        Give the attributes that have a meaning to Datadog.
        """
        resource = event.resource.attributes
        reserved = {
            "ddsource": self._options.source,
            "ddtags": ",".join(_tags(self._options.tags, resource)),
            "service": self._options.service or resource.get("service.name"),
            "hostname": self._options.hostname or resource.get("host.name"),
            "status": "error" if event.severity_number >= _ERROR else "info",
            "timestamp": event.timestamp_ns // 1_000_000,
        }
        return {name: value for name, value in reserved.items() if value}


def _found(event: Event) -> dict[str, Any]:
    """
    Give what a log is found and read by, beside its document.
    """
    return {"message": line(event), "event_id": event.id, "dd": _ids(event)}


def _tags(tags: Sequence[str], resource: dict[str, Any]) -> Sequence[str]:
    env = resource.get("deployment.environment.name") or resource.get("deployment.environment")
    told = {"env": env, "version": resource.get("service.version")}
    return [*tags, *(f"{name}:{value}".replace(",", "_") for name, value in told.items() if value)]


def _ids(event: Event) -> dict[str, str]:
    """
    Give trace and span id as decimals of 64 bits, as which Datadog finds the longer ones, too.
    """
    trace = {"trace_id": str(int(event.trace_id, 16) & _LOWER_HALF)} if event.trace_id else {}
    return trace | ({"span_id": str(int(event.span_id, 16))} if event.span_id else {})
