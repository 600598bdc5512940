"""
Kinesis' client alone: records that lie ready, put into a stream batch by batch.
"""

from typing import Any

import boto3

from otel_llm.formats import find
from otel_llm.telemetry.event import Event

SERVER = "kinesalite"
STREAM = "calls"
ACCESS = {"region": "us-east-1", "access_key_id": "AKIATEST", "secret_access_key": "unchecked"}


def sinks(server: Any) -> dict[str, Any]:
    """
    Give what is ours.
    """
    server.api.create(STREAM)
    options = {"stream_name": STREAM, "endpoint": server.endpoint, **ACCESS}
    return {
        f"kinesis, by {client}": ("kinesis", options | {"client": client}, "bare boto3")
        for client in ("aiobotocore", "boto3")
    }


def clients(server: Any) -> dict[str, Any]:
    """
    Give what is not.
    """
    return {"bare boto3": lambda: Boto3(server.endpoint)}


class Boto3:
    """
    boto3 as its documentation uses it.
    """

    def __init__(self, endpoint: str) -> None:
        self._client = boto3.client(
            "kinesis",
            endpoint_url=endpoint,
            region_name=ACCESS["region"],
            aws_access_key_id=ACCESS["access_key_id"],
            aws_secret_access_key=ACCESS["secret_access_key"],
        )

    def ready(self, event: Event) -> dict[str, Any]:
        return {"Data": find("otel").encode(event), "PartitionKey": event.id}

    def send(self, records: list[dict[str, Any]]) -> None:
        if self._client.put_records(StreamName=STREAM, Records=records)["FailedRecordCount"]:
            raise SystemExit("kinesis does not take the records")

    def close(self) -> None:
        self._client.close()
