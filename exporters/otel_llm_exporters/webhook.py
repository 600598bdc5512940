"""
Posts records to a URL, signed if you like.

Every request has the headers of [Standard Webhooks](https://www.standardwebhooks.com): `webhook-id`, which is the event
id of a single record, and otherwise stands for exactly these records; `webhook-timestamp`; and with `signing_secrets`
a `webhook-signature` for each of them. A request that is sent again has its old id, so that a receiver can drop what it
has. What is signed is the body before compression. Redirects are not followed.

With `format: otlp_json` or `otlp_proto` a batch is one OTLP request, as a Collector's OTLP receiver takes it under
`/v1/logs`, whatever `body` says except `single`.

What becomes of a batch when the server answers:

| status | the batch |
| --- | --- |
| 2xx | is delivered |
| 400, 413, 422 | is halved until the record at fault is alone, which goes to the dead letters |
| 401, 403, 407 | waits, and is tried again at long intervals: the credentials are wrong |
| 410 | stays in the journal, and the sink is off until the next start |
| all others, 3xx too, or none | is sent again, after as long as `Retry-After` (seconds or a date) asks for |

An OTLP receiver may take a request and refuse some of its records (`partialSuccess`), without saying which. OTLP
forbids to send such a request again: all its records go to the dead letters then, with the number of those that were
refused and the receiver's words as the reason. The others are with the receiver, too. With `body: single` it is always
clear which record was refused.

Plain http reaches this machine only, unless `allow_http` is set. The metadata services of clouds are refused by name
and by address, whatever name leads there. URL and header values are never logged: both may hold tokens.
"""

import hashlib
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import httpx2
import msgspec

from otel_llm.delivery.http_address import Url, check_scheme
from otel_llm.delivery.http_answer import Answer, receipt
from otel_llm.delivery.http_client import HttpClient, HttpOptions
from otel_llm.delivery.otlp_answer import partial_success
from otel_llm.delivery.sink import Batch, Outcome, Receipt, Record, Rejected, Retry
from otel_llm.errors import OtelLLMError
from otel_llm.settings.conversion import Unfit, convert
from otel_llm.settings.secret import Secret

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


def read_secrets(raw: object) -> tuple[Secret, ...]:
    """
    Read signing secrets as Standard Webhooks writes them.
    """
    secrets: tuple[Secret, ...] = convert(raw, tuple[Secret, ...])
    for secret in secrets:
        if not _LEAST_BYTES <= len(_key(secret)) <= _MOST_BYTES:
            raise Unfit("secrets like whsec_…: 24 to 64 bytes in base64")
    return secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions(HttpOptions):
    """
    Options of the sink `webhook`.

    ```yaml
    sinks:
      webhook:
        url: https://hooks.example.com/llm
        headers: {Authorization: Bearer abc123, X-Source: shop}
        signing_secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
    ```

    ```yaml
    sinks:
      collector:
        type: webhook
        url: http://collector.internal:4318/v1/logs
        allow_http: true
        format: otlp_proto
        compression: gzip
    ```

    ```yaml wrong
    sinks:
      webhook: {url: hooks.example.com}
    ```

    ```yaml wrong
    sinks:
      webhook: {url: "http://hooks.example.com/llm"}
    ```

    ```yaml wrong
    sinks:
      webhook: {url: "http://169.254.169.254/latest"}
    ```

    ```yaml wrong
    sinks:
      webhook: {url: "https://hooks.example.com/llm", signing_secrets: [swordfish]}
    ```

    ```yaml wrong
    sinks:
      webhook: {url: "https://hooks.example.com/llm", headers: {"X Source": shop}}
    ```

    ```yaml wrong
    sinks:
      webhook: {url: "https://hooks.example.com/llm", ca_file: /etc/ssl/missing.pem}
    ```
    """

    url: Url
    """Where to post. It may hold a user and password (`https://user:password@…`), and is never shown."""
    body: Literal["array", "envelope", "ndjson", "single"] = "array"
    """What a request holds: a JSON array of records, `{"events": […]}`, one record per line, or a single record."""
    signing_secrets: Annotated[tuple[Secret, ...], read_secrets] = ()
    """Secrets that sign each request; several while one replaces another."""

    def __post_init__(self) -> None:
        HttpOptions.__post_init__(self)
        check_scheme(self.url, allow_http=self.allow_http)


class WebhookSink:
    """
    Posts each batch in one request, or with `body: single` each record, one after another.
    """

    Options = WebhookOptions

    def __init__(self, options: WebhookOptions) -> None:
        self._options = options
        self._body = _BODIES[options.body]
        self._keys = [_key(secret) for secret in options.signing_secrets]
        self._client = HttpClient(httpx2, options)

    async def open(self) -> None:
        await self._client.open()

    async def send(self, batch: Batch) -> Receipt:
        if self._options.body == "single":
            return Receipt(await self._one_by_one(batch))
        return await self._post(batch)

    async def close(self) -> None:
        await self._client.close()

    async def _one_by_one(self, batch: Batch) -> Sequence[Outcome]:
        """
        Send in order, and stop where the server does not answer as it should.
        """
        outcomes: list[Outcome] = []
        for record in batch.records:
            try:
                alone = Batch([record], batch.join)
                (outcome,) = (await self._post(alone)).of(alone)
            except OtelLLMError:
                if not outcomes:
                    raise
                outcome = Retry(0)  # what was delivered is not sent again; the rest will meet the same error
            outcomes.append(outcome)
            if isinstance(outcome, Retry):
                break
        return [*outcomes, *[outcomes[-1]] * (len(batch.records) - len(outcomes))]

    async def _post(self, batch: Batch) -> Receipt:
        body, content_type = _joined(batch) or self._body(batch.records)
        message = _message_id(batch.records)
        moment = str(int(time.time()))
        headers = {"content-type": content_type, "webhook-id": message, "webhook-timestamp": moment}
        if self._keys:
            headers["webhook-signature"] = _signatures(self._keys, message, moment, body)
        answer = await self._client.post(self._options.url, body, headers)
        return _refused(batch, answer) or receipt(answer)


def _joined(batch: Batch) -> tuple[bytes, str] | None:
    """
    Give the one document that a batch is in formats that have such: an OTLP request.
    """
    if batch.join is None:
        return None
    return batch.join(record.body for record in batch.records), batch.records[0].content_type


def _refused(batch: Batch, answer: Answer) -> Receipt | None:
    """
    Give the receipt of a batch whose records an OTLP receiver refused in part.
    """
    if batch.join is None or not answer.ok:
        return None
    told, count = partial_success(answer), len(batch.records)
    if told.rejected_log_records <= 0:
        return None
    words = msgspec.structs.replace(answer, body=told.error_message.encode())
    some = f"{told.rejected_log_records} of these {count} records refused, without saying which"
    reason = f"{'refused' if told.rejected_log_records >= count else some}: {words}"
    return Receipt([Rejected(reason)] * count)


def _array(records: Sequence[Record]) -> tuple[bytes, str]:
    return b"[" + b",".join(record.body for record in records) + b"]", "application/json"


def _envelope(records: Sequence[Record]) -> tuple[bytes, str]:
    return b'{"events":' + _array(records)[0] + b"}", "application/json"


def _lines(records: Sequence[Record]) -> tuple[bytes, str]:
    return b"\n".join([*(record.body for record in records), b""]), "application/x-ndjson"


def _single(records: Sequence[Record]) -> tuple[bytes, str]:
    (record,) = records
    return record.body, record.content_type


_BODIES: Mapping[str, Callable[[Sequence[Record]], tuple[bytes, str]]] = {
    "array": _array,
    "envelope": _envelope,
    "ndjson": _lines,
    "single": _single,
}


def _message_id(records: Sequence[Record]) -> str:
    """
    Give an id that no other selection of records has: a receiver drops what comes under an id that it knows.
    """
    if len(records) == 1:
        return records[0].event.id
    return hashlib.sha256("\n".join(record.event.id for record in records).encode()).hexdigest()[:32]


def _signatures(keys: Sequence[bytes], message: str, moment: str, body: bytes) -> str:
    signed = b"%b.%b.%b" % (message.encode(), moment.encode(), body)
    return " ".join(f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)


def _key(secret: Secret) -> bytes:
    try:
        return b64decode(secret.reveal().removeprefix(_PREFIX), validate=True)
    except ValueError:
        return b""
