"""
Loki: pushes records to Grafana Loki.

A record's line is the document of its format. Its stream has the labels of the option `labels`, few as Loki wants them;
event id, trace id and span id are structured metadata. Loki knows a line that comes twice and keeps it once. A line
holds at most 256 KB and a request 4 MB: a batch that is larger goes in several, and in a larger line the longest texts
are cut, which end in `… [truncated]` then, and `otel_llm.truncated` is true.

What becomes of a batch when Loki answers:

| status | the batch |
| --- | --- |
| 2xx | is delivered |
| 400, 413, 422 | is halved until the record at fault is alone (too old, say), which goes to the dead letters |
| 401, 403 | waits, and is tried again at long intervals: the credentials are wrong |
| all others, 429 too, or none | is sent again |

Loki itself was never met: this was tested with VictoriaLogs, which takes what Loki takes, and with a server of ours
that holds to the limits that Loki documents. That a line which comes twice is kept once is of its documentation, too.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import httpx2

from otel_llm.delivery.http_address import Url, check_scheme
from otel_llm.delivery.http_client import HttpOptions
from otel_llm.delivery.http_intake import Intake, from_json, to_json
from otel_llm.delivery.http_limits import Entry, entry
from otel_llm.delivery.sink import Record
from otel_llm.delivery.template import Template, fill
from otel_llm.settings.conversion import Unfit, convert
from otel_llm.settings.secret import Secret

MOST_LINE_BYTES: Final = 256 * 1024


def read_labels(raw: object) -> Mapping[str, str]:
    """
    Read the labels of a stream.
    """
    labels: Mapping[str, str] = convert(raw, Mapping[str, Template])
    if not labels or not all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in labels):
        raise Unfit("one label or more, with names of letters, digits and underscores: service_name=shop")
    return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class LokiOptions(HttpOptions):
    """
    Options of the sink `loki`.

    ```yaml
    sinks:
      loki:
        url: https://logs-prod-eu-west-0.grafana.net/loki/api/v1/push
        username: "123456"
        password_file: /run/secrets/loki
        labels: {service_name: "{resource.service.name}", env: prod}
    ```

    ```yaml wrong
    sinks:
      loki: {url: loki.example.com}
    ```

    ```yaml wrong
    sinks:
      loki: {url: "https://loki.example.com/loki/api/v1/push", labels: {service-name: shop}}
    ```

    ```yaml wrong
    sinks:
      loki: {url: "https://loki.example.com/loki/api/v1/push", labels: {model: "{modle}"}}
    ```
    """

    url: Url
    """Where to push: the whole URL, which ends in `/loki/api/v1/push`."""
    labels: Annotated[Mapping[str, str], read_labels] = field(
        default_factory=lambda: {"service_name": "{resource.service.name}", "source": "otel-llm"}
    )
    """Labels of the streams; fields of the event stand in braces, and `unknown` where it has none."""
    tenant: str = ""
    """The tenant, `X-Scope-OrgID`."""
    username: str = ""
    """The user for basic authentication; Grafana Cloud's is a number."""
    password: Secret = Secret("")  # noqa: RUF009 - a Secret never changes
    """Its password, or token."""
    compression: Literal["none", "gzip"] = "gzip"
    """How bodies are compressed: `none` or `gzip`."""

    def __post_init__(self) -> None:
        HttpOptions.__post_init__(self)
        check_scheme(self.url, allow_http=self.allow_http)
        if bool(self.username) != bool(self.password):
            raise ValueError("both username and password, or neither")


class LokiSink(Intake):
    """
    Pushes each batch in as many requests as the limits ask for.
    """

    Options = LokiOptions

    vendor = "Loki"
    most_request_bytes = 4_000_000

    def __init__(self, options: LokiOptions) -> None:
        self._labels = options.labels
        super().__init__(httpx2, options, options.url, _credentials(options))

    def entry(self, record: Record) -> Entry:
        event = record.event
        labels = {name: fill(event, text, missing="unknown") for name, text in self._labels.items()}
        ids = {"event_id": event.id, "trace_id": event.trace_id, "span_id": event.span_id}
        metadata = {name: value for name, value in ids.items() if value}

        def stream(line: bytes) -> bytes:
            return to_json({"stream": labels, "values": [[str(event.timestamp_ns), line.decode(), metadata]]})

        return entry(from_json(record.body), MOST_LINE_BYTES, stream)

    def body(self, entries: Sequence[bytes]) -> bytes:
        return b'{"streams":[' + b",".join(entries) + b"]}"


def _credentials(options: LokiOptions) -> dict[str, str]:
    user = f"{options.username}:{options.password.reveal()}".encode()
    return {
        **({"x-scope-orgid": options.tenant} if options.tenant else {}),
        **({"authorization": f"Basic {b64encode(user).decode()}"} if options.username else {}),
    }
