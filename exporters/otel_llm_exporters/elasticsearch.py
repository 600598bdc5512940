"""
Elasticsearch and OpenSearch: indexes records by `_bulk`, each once.

A record is created under its event id; one that is there already is not written again, so that a batch may be sent
any number of times. With a date in `index` a record belongs to the day of the event, whenever it is sent.

A data stream is less strict, as an id is known to one backing index only: a record that is sent again after a rollover,
because the answer to the first time was lost, is there twice. Where that matters, have a date in `index` instead, or
count different values of `event.id` (`cardinality`), not documents.

Documents have what their format says and, so that they can be found, `@timestamp`, `event.id`, `trace.id`, `span.id`
and `labels`. Prompts and answers are kept in the document, but not indexed. A label may have any name, and is refused
only if it is longer than 32 KB. In the attributes of the format `otel`, whose dots are read as a path, `_` stands where
a name has nothing between them: `a..b` is `a._.b` there.

The first `open` installs an index template with a type for every field: `otel-llm-llm-calls-` for
`llm-calls-%Y.%m.%d`, and for a data stream `otel-llm-llm-calls-stream`. One that is there stays as it is, so edit it as
you like. It stays after an upgrade of this package, too: fields that are new get a type by the template's rules. To
have the new template, delete the old one: it is installed at the next start, and holds for indices that are made from
then on.

It takes these rights, the last only with `install_template`:

| for | in Elasticsearch | in OpenSearch |
| --- | --- | --- |
| the index | `create_doc`, `auto_configure` | `create_index`, `index`, `indices:admin/mapping/put` |
| the cluster |  | `indices:data/write/bulk` |
| the template | `manage_index_templates` | `indices:admin/index_template/put` |

Nothing is deleted: the retention of daily indices is a matter of the cluster, by a policy (ILM, ISM) or by deleting an
index such as `llm-calls-2026.01.12`. A record that comes later makes its day anew.

What becomes of a record, by the status of its item:

| status | the record |
| --- | --- |
| 200, 201, 409 | is there |
| 400: it does not fit the mapping | goes to the dead letters, alone |
| 400: the cluster is at its limits or the index is closed; 401, 403, 404, 429, 5xx | is sent again |

A request that is refused as a whole is treated as the webhook sink does, and where a server cannot be reached or
answers 502, 503 or 504, the next one of `url` is asked.

Tested with OpenSearch 3.8, with 2.19 and its security plugin (basic authentication, and the rights above), and with
VictoriaLogs. Elasticsearch itself was never met: its type `flattened` for `labels`, its API keys and its cloud ids were
tested with a server of ours that follows the documentation, from which its rights are, too.
"""

import base64
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from urllib.parse import quote, urlsplit

import httpx2
import msgspec
from msgspec import UNSET, Struct, UnsetType

from otel_llm.delivery.http_address import Url, check_scheme, read_url
from otel_llm.delivery.http_answer import Answer, receipt
from otel_llm.delivery.http_client import HttpClient, HttpOptions
from otel_llm.delivery.sink import DELIVERED, Batch, Outcome, Receipt, Record, Rejected, Retry
from otel_llm.errors import NotDelivered
from otel_llm.formats.moment import with_milliseconds
from otel_llm.settings.conversion import Count, Unfit, read_text
from otel_llm.settings.secret import Secret
from otel_llm_exporters.elasticsearch_names import are_usable, renamed
from otel_llm_exporters.elasticsearch_template import LABELS, template

LOCAL: Final = "http://localhost:9200"

_BULK: Final = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
_NDJSON: Final = "application/x-ndjson"
_MOST_ANSWER_BYTES: Final = 32 * 1024**2
_ASK_THE_NEXT: Final = frozenset({502, 503, 504})
_BAD_REQUEST, _CONFLICT = 400, 409
_NOT_ITS_FAULT: Final = frozenset({"validation_exception", "index_closed_exception", "invalid_index_name_exception"})
"""Errors with status 400 that another day, or another setting of the cluster, takes away."""

_LONGEST_NAME: Final = 255
_DIRECTIVE: Final = re.compile(r"%.?")
_DIRECTIVES: Final = frozenset({"%Y", "%m", "%d", "%H", "%G", "%V"})
_FORBIDDEN: Final = frozenset('\\/*?"<>| ,#:')


def read_index(raw: object) -> str:
    """
    Read the name of an index, which may end in a date.
    """
    name = read_text(raw)
    if not set(_DIRECTIVE.findall(name)) <= _DIRECTIVES:
        raise Unfit("only %Y, %m, %d, %H, %G and %V where an index has a date, such as llm-calls-%Y.%m.%d")
    told = datetime.now(UTC).strftime(name)
    usable = told == told.lower() and told.isprintable() and not set(told) & _FORBIDDEN
    if not usable or name[:1] in {"", "-", "_", "+", "%", "."} or len(told.encode()) > _LONGEST_NAME:
        raise Unfit("an index such as llm-calls-%Y.%m.%d: in lower case, at most 255 bytes, first a letter or a digit")
    return name


def read_cloud_id(raw: object) -> str:
    """
    Read the id of a deployment in Elastic's cloud.
    """
    text = read_text(raw).strip()
    if text and not _cloud_url(text):
        raise Unfit("a cloud id such as shop:ZXhhbXBsZS5jb20kYWJjJGRlZg==, as the deployment's page shows it")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticsearchOptions(HttpOptions):
    """
    Options of the sink `elasticsearch`.

    ```yaml
    sinks:
      elasticsearch:
        url: [https://es1.example.com:9200, https://es2.example.com:9200]
        index: llm-calls-%Y.%m.%d
        api_key_file: /run/secrets/elasticsearch
    ```

    ```yaml
    sinks:
      opensearch:
        type: elasticsearch
        url: https://search.example.com
        username: shop
        password_file: /run/secrets/opensearch
        index: llm-calls
        data_stream: true
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {url: es1.example.com}
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {url: "http://es1.example.com:9200"}
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {index: LLM Calls}
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {index: "llm-%c"}
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {index: "llm-%Y", data_stream: true}
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {cloud_id: shop}
    ```

    ```yaml wrong
    sinks:
      elasticsearch: {api_key: abc, username: shop, password: abc}
    ```
    """

    url: tuple[Url, ...] = ()
    """Where the servers are; several, separated by commas, are asked in turn when one fails. Without it and without
    `cloud_id`: `http://localhost:9200`."""
    cloud_id: Annotated[str, read_cloud_id] = ""
    """The id of a deployment in Elastic's cloud, instead of `url`."""
    index: Annotated[str, read_index] = "llm-calls-%Y.%m.%d"
    """The index; `%Y`, `%m`, `%d`, `%H`, `%G` and `%V` stand for parts of the time of the event, in UTC."""
    data_stream: bool = False
    """Whether `index` is the name of a data stream."""
    install_template: bool = True
    """Whether the index template is installed where it is missing, which takes the right to manage index templates."""
    api_key: Secret = Secret("")  # noqa: RUF009 - a Secret never changes
    """An API key, encoded as Kibana shows it or as `id:key`."""
    username: str = ""
    """The user for basic authentication."""
    password: Secret = Secret("")  # noqa: RUF009 - same
    """Its password."""
    compression: Literal["none", "gzip"] = "gzip"
    """How bodies are compressed: `none` or `gzip`."""
    timeout_ms: Count = 30_000
    """Longest time for a request and its answer, in milliseconds."""

    def __post_init__(self) -> None:
        HttpOptions.__post_init__(self)
        for url in self.url:
            check_scheme(url, allow_http=self.allow_http)
        if self.url and self.cloud_id:
            raise ValueError("url or cloud_id, not both")
        if self.api_key and self.username:
            raise ValueError("api_key or username, not both")
        if bool(self.username) != bool(self.password):
            raise ValueError("both username and password, or neither")
        if self.data_stream and "%" in self.index:
            raise ValueError("an index without a date, as a data stream rolls over by itself")


class ElasticsearchSink:
    """
    Indexes each batch in one request.
    """

    Options = ElasticsearchOptions

    def __init__(self, options: ElasticsearchOptions) -> None:
        self._options = options
        self._hosts = deque(_hosts(options))
        self._client = HttpClient(
            httpx2, options, credentials=_credentials(options), most_answer_bytes=_MOST_ANSWER_BYTES
        )
        self._prepared = not options.install_template

    async def open(self) -> None:
        await self._client.open()
        if not self._prepared:
            await self._install()
            self._prepared = True

    async def send(self, batch: Batch) -> Receipt:
        if batch.records[0].content_type != "application/json":
            raise NotDelivered("elasticsearch takes documents in JSON, not a format of another kind such as otlp_proto")
        lines = [line for record in batch.records for line in self._lines(record)]
        answer = await self._post(_BULK, b"\n".join([*lines, b""]), _NDJSON)
        return Receipt(_outcomes(answer, batch.records)) if answer.ok else receipt(answer)

    async def close(self) -> None:
        await self._client.close()

    async def _install(self) -> None:
        """
        Install the template, with the type for labels that the server has.
        """
        for labels in LABELS:
            answer = await self._post(*_template(self._options, labels), "application/json")
            if answer.ok or b"already exists" in answer.body:
                return
            if answer.status != _BAD_REQUEST:
                break
        receipt(answer)
        raise NotDelivered(f"the index template is not installed: {answer}")

    async def _post(self, path: str, body: bytes, content_type: str) -> Answer:
        """
        Ask one server after another until one answers; that one is asked first the next time.
        """
        headers = {"content-type": content_type}
        for last in (*(False,) * (len(self._hosts) - 1), True):
            try:
                answer = await self._client.post(Secret(self._hosts[0] + path), body, headers)
            except NotDelivered:
                self._hosts.rotate(-1)
                if last:
                    raise
                continue
            if answer.status not in _ASK_THE_NEXT:
                break
            self._hosts.rotate(-1)
        return answer

    def _lines(self, record: Record) -> tuple[bytes, bytes]:
        """
        Give a record's two lines: where it goes, and the document.
        """
        event = record.event
        when = datetime.fromtimestamp(event.timestamp_ns // 10**9, UTC)
        action = _to_json({"create": {"_index": when.strftime(self._options.index), "_id": event.id}})
        found = {
            "@timestamp": with_milliseconds(event.timestamp_ns),
            "event.id": event.id,
            **({"trace.id": event.trace_id} if event.trace_id else {}),
            **({"span.id": event.span_id} if event.span_id else {}),
            **({"labels": event.labels} if _from_json(record.body).labels is UNSET else {}),
        }
        usable = are_usable((*event.attributes, *event.resource.attributes))
        body = record.body if usable else renamed(record.body)
        return action, _to_json(found)[:-1] + b"," + body[1:]


class _Document(Struct):
    labels: msgspec.Raw | UnsetType = UNSET
    """There where the format has labels of its own."""


class _Error(Struct):
    type: str = "error"
    reason: str | None = None


class _Item(Struct):
    status: int
    error: _Error | str | None = None

    @property
    def words(self) -> str:
        """What the server says of it."""
        return f"{self.error.type}: {self.error.reason or ''}" if isinstance(self.error, _Error) else self.error or ""

    @property
    def is_at_fault(self) -> bool:
        """Whether it is this record that cannot be taken."""
        kind = self.error.type if isinstance(self.error, _Error) else ""
        return self.status == _BAD_REQUEST and kind not in _NOT_ITS_FAULT


class _Bulk(Struct):
    items: list[dict[str, _Item]]


_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder(_Document).decode
_bulk = msgspec.json.Decoder(_Bulk).decode


def _outcomes(answer: Answer, records: Sequence[Record]) -> Sequence[Outcome]:
    try:
        items = [item for told in _bulk(answer.body).items for item in told.values()]
    except msgspec.DecodeError as error:
        raise NotDelivered(f"{answer.host} does not answer _bulk as Elasticsearch does") from error
    if len(items) != len(records):
        raise NotDelivered(f"{answer.host} answers _bulk with {len(items)} items for {len(records)} records")
    return [_outcome(answer, item, record) for item, record in zip(items, records, strict=True)]


def _outcome(answer: Answer, item: _Item, record: Record) -> Outcome:
    if item.status == _CONFLICT or 200 <= item.status < 300:  # noqa: PLR2004 - the class of success
        return DELIVERED
    told = str(msgspec.structs.replace(answer, status=item.status, body=item.words.encode(), sent=record.body))
    return Rejected(told) if item.is_at_fault else Retry(answer.retry_after, told)


def _template(options: ElasticsearchOptions, labels: str) -> tuple[str, bytes]:
    """
    Give the template's path, which leaves one alone that is there, and the template.
    """
    prefix = options.index.partition("%")[0]
    pattern = prefix if prefix == options.index else f"{prefix}*"
    # Each kind of index has a name of its own, and takes no other's template for its.
    name = f"otel-llm-{prefix}{'-stream' if options.data_stream else ''}"
    path = f"/_index_template/{quote(name)}?create=true"
    # Above those that come with the servers; of two of ours the longer name wins.
    return path, template([pattern], labels, priority=200 + len(prefix), data_stream=options.data_stream)


def _hosts(options: ElasticsearchOptions) -> Iterator[str]:
    if options.cloud_id:
        yield _cloud_url(options.cloud_id)
        return
    for url in options.url or (Secret(LOCAL),):
        yield url.reveal().partition("?")[0].rstrip("/")


def _cloud_url(cloud_id: str) -> str:
    """
    Give the address that a cloud id stands for; empty where it is none.
    """
    try:
        host, elasticsearch, *_ = base64.b64decode(cloud_id.rpartition(":")[2], validate=True).decode().split("$")
    except ValueError:
        return ""
    name, _, port = host.partition(":")
    url = f"https://{elasticsearch}.{name}:{port or 443}"
    try:
        return read_url(url).reveal() if elasticsearch and urlsplit(url).port else ""
    except ValueError:
        return ""


def _credentials(options: ElasticsearchOptions) -> dict[str, str]:
    """
    Give the header for the credentials.
    """
    key, user = options.api_key.reveal(), f"{options.username}:{options.password.reveal()}"
    if options.username:
        return {"authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    if key:
        return {"authorization": f"ApiKey {base64.b64encode(key.encode()).decode() if ':' in key else key}"}
    return {}
