"""
Pub/Sub's client alone: bodies that lie ready, through its own batches and as one request for each of ours.
"""

from typing import Any

import grpc
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from otel_llm.formats import find
from otel_llm.telemetry.event import Event

SERVER = "pstest"
PROJECT, TOPIC = "otel-llm", "calls"
NAME = f"projects/{PROJECT}/topics/{TOPIC}"


def sinks(server: Any) -> dict[str, Any]:
    """
    Give what is ours.
    """
    server.api.create(NAME)
    options = {"project_id": PROJECT, "topic_id": TOPIC, "endpoint": server.endpoint}
    return {"pubsub": ("pubsub", options, "bare google-cloud-pubsub, a request of 500")}


def clients(server: Any) -> dict[str, Any]:
    """
    Give what is not.
    """
    return {
        "bare google-cloud-pubsub": lambda: Publisher(server.endpoint),
        "bare google-cloud-pubsub, a request of 500": lambda: Requests(server.endpoint),
    }


class Requests:
    """
    The generated client, told what to send in one request.
    """

    def __init__(self, endpoint: str) -> None:
        self._client = PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(endpoint)))

    def ready(self, event: Event) -> Any:
        return PubsubMessage(data=find("otel").encode(event), attributes={"event_id": event.id})

    def send(self, messages: list[Any]) -> None:
        self._client.publish(topic=NAME, messages=messages)

    def close(self) -> None:
        self._client.transport.close()


class Publisher:
    """
    The client that makes batches itself, as its documentation uses it.
    """

    def __init__(self, endpoint: str) -> None:
        from google.cloud.pubsub_v1 import PublisherClient as BatchingClient

        transport = PublisherGrpcTransport(channel=grpc.insecure_channel(endpoint))
        self._client = BatchingClient(transport=transport)

    def ready(self, event: Event) -> tuple[bytes, str]:
        return find("otel").encode(event), event.id

    def send(self, messages: list[tuple[bytes, str]]) -> None:
        for receipt in [self._client.publish(NAME, body, event_id=event_id) for body, event_id in messages]:
            receipt.result(60)

    def close(self) -> None:
        self._client.stop()
