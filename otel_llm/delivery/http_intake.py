"""
A vendor's intake for logs: what the sinks for them share.

Such a sink says how a record becomes an entry, how entries become a request, and what the vendor's limits are.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from otel_llm.delivery.http_answer import Answer
from otel_llm.delivery.http_client import HttpClient, HttpOptions
from otel_llm.delivery.http_limits import Entry, post_all
from otel_llm.delivery.sink import Batch, Receipt, Record, Rejected
from otel_llm.errors import NotDelivered
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import Event
from otel_llm.telemetry.line import render

from_json: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Reads a document's fields, and leaves each as it is."""
to_json: Final = msgspec.json.Encoder().encode


class Intake:
    """
    Sends each batch in as many requests as the limits ask for; `library` is httpx2, `credentials` are headers.
    """

    vendor: ClassVar[str]
    """What to call it in an error."""
    most_entries: ClassVar[int] = 10_000
    most_request_bytes: ClassVar[int]
    oldest_seconds: ClassVar[float] = math.inf
    """The age of a record that is not taken any more."""

    def __init__(self, library: Any, options: HttpOptions, url: Secret, credentials: Mapping[str, str]) -> None:
        self._url = url
        self._client = HttpClient(library, options, credentials=credentials)

    async def open(self) -> None:
        """
        Prepare the connections.
        """
        await self._client.open()

    async def send(self, batch: Batch) -> Receipt:
        """
        Send a batch.
        """
        if batch.records[0].content_type != "application/json":
            raise NotDelivered(
                f"{self.vendor} takes documents in JSON, not a format of another kind such as otlp_proto"
            )
        entries = [self._young(record) for record in batch.records]
        return await post_all(entries, self.post, most=self.most_entries, most_bytes=self.most_request_bytes - 100)

    async def close(self) -> None:
        """
        Close the connections.
        """
        await self._client.close()

    async def post(self, entries: Sequence[bytes]) -> Answer:
        """
        Post one request.
        """
        return await self._client.post(self._url, self.body(entries), {"content-type": "application/json"})

    def entry(self, record: Record) -> Entry:
        """
        Give a record as it stands in a request.
        """
        raise NotImplementedError

    def body(self, entries: Sequence[bytes]) -> bytes:
        """
        Give a request of entries: a JSON array, unless the vendor has it otherwise.
        """
        return b"[" + b",".join(entries) + b"]"

    def _young(self, record: Record) -> Entry:
        if record.event.timestamp_ns / 1e9 < time.time() - self.oldest_seconds:
            return Rejected(f"older than the {self.oldest_seconds / 3600:g} hours that {self.vendor} takes")
        return self.entry(record)


def line(event: Event) -> str:
    """
    Give an event as a line for people, as the message of a log.
    """
    return render(event, color=False)
