"""Kinesis through aiobotocore, the asynchronous client that aioboto3 wraps."""

from contextlib import AsyncExitStack
from io import BytesIO
from typing import Any, ClassVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from otel_llm.delivery.sink import Batch, Receipt
from otel_llm_exporters.kinesis import KinesisOptions
from otel_llm_exporters.kinesis_requests import CLIENT_ERRORS, Requests, client_arguments, config_arguments
from otel_llm_exporters.kinesis_silence import silence


class AiobotocoreKinesis:
    """
    Sends on the delivery loop; with `async_workers` several requests are on their way at once.
    """

    Options: ClassVar[type[KinesisOptions]] = KinesisOptions

    def __init__(self, options: KinesisOptions) -> None:
        self._options = options
        self._connection = AsyncExitStack()
        self._client: Any = None

    async def open(self) -> None:
        # Anew also where there is a client: credentials in shared files change.
        await self.close()
        config = AioConfig(**config_arguments(self._options))
        made = get_session().create_client("kinesis", config=config, **client_arguments(self._options))
        self._client = await self._connection.enter_async_context(made)
        self._client.meta.events.register("before-send.kinesis.PutRecords", _pour)

    async def send(self, batch: Batch) -> Receipt:
        client, requests = self._client, Requests(batch, self._options)
        while (request := requests.next()) is not None:
            try:
                with silence():
                    requests.answered(await client.put_records(**request))
            except CLIENT_ERRORS as error:
                requests.failed(error)
        return requests.receipt()

    async def close(self) -> None:
        connection, self._connection = self._connection, AsyncExitStack()
        await connection.aclose()


def _pour(request: Any, **_: Any) -> None:
    """
    Let aiohttp read the body piece by piece: it warns of one above 1 MiB that it has to send at once.
    """
    request.body = BytesIO(request.body)
