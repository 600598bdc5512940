"""
Kafka's clients alone: messages that lie ready, sent batch by batch, each batch acknowledged before the next.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from otel_llm.formats import find
from otel_llm.telemetry.event import Event

SERVER = "kafka"
TOPIC = "calls"

Message = tuple[bytes, bytes]
"""Key and value."""


def sinks(server: Any) -> dict[str, Any]:
    """
    Give what is ours.
    """
    server.create(TOPIC)
    options = {"brokers": server.endpoint, "topic": TOPIC}
    return {
        "kafka, by aiokafka": ("kafka", options | {"client": "aiokafka"}, "bare aiokafka"),
        "kafka, by confluent-kafka": ("kafka", options | {"client": "confluent"}, "bare confluent-kafka"),
    }


def clients(server: Any) -> dict[str, Any]:
    """
    Give what is not.
    """
    return {
        "bare aiokafka": lambda: Aiokafka(server.endpoint, TOPIC),
        "bare confluent-kafka": lambda: Confluent(server.endpoint, TOPIC),
    }


def _message(event: Event) -> Message:
    return event.trace_id.encode(), find("otel").encode(event)


class Aiokafka:
    """
    aiokafka as its documentation uses it.
    """

    ready = staticmethod(_message)

    def __init__(self, endpoint: str, topic: str) -> None:
        self._topic = topic
        self._loop = asyncio.new_event_loop()
        self._producer = self._loop.run_until_complete(self._started(endpoint))

    def send(self, messages: list[Message]) -> None:
        self._loop.run_until_complete(self._send(messages))

    def close(self) -> None:
        self._loop.run_until_complete(self._producer.stop())
        self._loop.close()

    async def _started(self, endpoint: str) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(bootstrap_servers=endpoint, enable_idempotence=True, max_batch_size=960 * 1024)
        await producer.start()
        return producer

    async def _send(self, messages: list[Message]) -> None:
        receipts = [await self._producer.send(self._topic, value, key=key) for key, value in messages]
        await asyncio.gather(*receipts)


class Confluent:
    """
    confluent-kafka as its documentation uses it.
    """

    ready = staticmethod(_message)

    def __init__(self, endpoint: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": endpoint, "enable.idempotence": True, "log_level": 0})
        self._delivered = 0

    def send(self, messages: list[Message]) -> None:
        for key, value in messages:
            self._producer.produce(self._topic, value, key, on_delivery=self._count)
        if self._producer.flush(60):
            raise SystemExit("kafka does not take the messages")

    def close(self) -> None:
        self._producer.flush(1)

    def _count(self, error: Any, _message: Any) -> None:
        self._delivered += error is None
