"""
Pub/Sub: publishes records to a topic.

A message's data is the record in the sink's format; its attributes are `event_id`, `event_type`, `content_type`, with a
span `traceparent`, and those that `attributes` adds. A request holds up to 1,000 messages and 10 MB, as
<https://cloud.google.com/pubsub/quotas#resource_limits> allows; a record that is larger goes to the dead letters alone.

The records are published by the plain RPC, not by the publisher client of google-cloud-pubsub: that client batches,
delays, retries and remembers failures by itself, in threads, and gives a future for each message. Our courier has done
the first three, so a batch is one request whose answer says what became of it, at a fraction of the cost. Nothing is
paused after a failed publish either: the records of that ordering key, from the first that failed on, are sent again in
their order, and before any later ones as long as `async_workers` is 1.

What becomes of a request when Pub/Sub answers:

| answer | its records |
| --- | --- |
| `INVALID_ARGUMENT` | are halved until the one at fault is alone, which goes to the dead letters |
| `UNAUTHENTICATED`, `PERMISSION_DENIED`, no credentials | wait, and are tried again at long intervals |
| `NOT_FOUND`, all others, or none | are sent again, after as long as the answer asks for |
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from google.api_core.exceptions import GoogleAPICallError
from google.pubsub_v1.services.publisher.async_client import PublisherAsyncClient
from grpc.aio import UsageError

from otel_llm.delivery.sink import Batch, Receipt
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters.pubsub_connection import connect
from otel_llm_exporters.pubsub_options import PubsubOptions
from otel_llm_exporters.pubsub_requests import Lane, Requests


class PubsubSink:
    """
    Publishes each batch with one request, or one for each ordering key.
    """

    Options: ClassVar[type[PubsubOptions]] = PubsubOptions

    def __init__(self, options: PubsubOptions) -> None:
        self._options = options
        self._lanes = asyncio.Semaphore(options.num_goroutines)
        self._flow = Flow(options.flow_control_max)
        self._client: PublisherAsyncClient | None = None
        self._refused = False

    async def open(self) -> None:
        if self._client is None or self._refused:
            await self.close()
            self._client = await connect(self._options)
            self._refused = False

    async def send(self, batch: Batch) -> Receipt:
        if self._client is None:
            raise NotDelivered("the sink is not open")
        requests = Requests(batch, self._options)
        async with asyncio.TaskGroup() as group:
            for lane in requests.lanes:
                group.create_task(self._publish(lane, self._client))
        try:
            return requests.receipt()
        except Unauthorized:
            self._refused = True
            raise

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.transport.close()  # type: ignore[no-untyped-call]

    async def _publish(self, lane: Lane, client: PublisherAsyncClient) -> None:
        """
        Send one key's requests, each when the one before has been answered.
        """
        async with self._lanes:
            while (request := lane.next()) is not None:
                async with self._flow.room(lane.size):
                    try:
                        await client.publish(request, retry=None, timeout=self._options.timeout_ms / 1000)
                    except (GoogleAPICallError, UsageError) as error:
                        lane.failed(error)
                    except asyncio.CancelledError:
                        if _is_cancelled():
                            raise
                        lane.failed(ConnectionAbortedError())


def _is_cancelled() -> bool:
    """
    Whether somebody cancelled us: gRPC raises the same where another worker, once refused, opened the sink anew.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Flow:
    """
    Lets so many messages be on their way, and who has more wait.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def room(self, messages: int) -> AsyncIterator[None]:
        """
        Wait until so many more may go, and let them go inside.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= messages)
            self._free -= messages
        try:
            yield
        finally:
            self._free += messages
            async with self._changed:
                self._changed.notify_all()
