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

from otel_llm.delivery.sink import Batch, Receipt
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters.pubsub_connection import Connection, connect
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
        self._connection: Connection | None = None
        self._refused = False

    async def open(self) -> None:
        if self._connection is None or self._refused:
            await self.close()
            self._connection = await connect(self._options)
            self._refused = False

    async def send(self, batch: Batch) -> Receipt:
        if self._connection is None:
            raise NotDelivered("the sink is not open")
        requests = Requests(batch, self._options)
        async with asyncio.TaskGroup() as group:
            for lane in requests.lanes:
                group.create_task(self._publish(lane, self._connection))
        try:
            return requests.receipt()
        except Unauthorized:
            self._refused = True
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _publish(self, lane: Lane, connection: Connection) -> None:
        """
        Send one key's requests, each when the one before has been answered.
        """
        async with self._lanes:
            while (request := lane.next()) is not None:
                async with self._flow.room(lane.size):
                    try:
                        await connection.publish(request)
                    except GoogleAPICallError as error:
                        lane.failed(error)


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
