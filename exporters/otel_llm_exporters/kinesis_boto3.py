"""Kinesis through boto3, in a thread."""

from typing import Any, ClassVar

from boto3.session import Session
from botocore.config import Config

from otel_llm.delivery.sink import Batch, BlockingSink, Receipt
from otel_llm_exporters.kinesis import KinesisOptions
from otel_llm_exporters.kinesis_requests import CLIENT_ERRORS, Requests, client_arguments, config_arguments
from otel_llm_exporters.kinesis_silence import silence


class Boto3Kinesis(BlockingSink):
    """
    Sends one request after another, whatever `async_workers` says.
    """

    Options: ClassVar[type[KinesisOptions]] = KinesisOptions

    def __init__(self, options: KinesisOptions) -> None:
        self._options = options
        self._client: Any = None

    def open(self) -> None:
        # Anew also where there is a client: credentials in shared files change.
        self.close()
        config = Config(**config_arguments(self._options))
        self._client = Session().client("kinesis", config=config, **client_arguments(self._options))

    def send(self, batch: Batch) -> Receipt:
        requests = Requests(batch, self._options)
        while (request := requests.next()) is not None:
            try:
                with silence():
                    requests.answered(self._client.put_records(**request))
            except CLIENT_ERRORS as error:
                requests.failed(error)
        return requests.receipt()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
