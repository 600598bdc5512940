"""What a topic holds, read by a client that the sink does not use."""

from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition


class Message(NamedTuple):
    """
    One message as it was found.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict


def read(endpoint, topic, timeout=30.0, **settings):
    """
    Give all messages of a topic, partition after partition, each in order; `settings` are librdkafka's, `_` for `.`.
    """
    own = {name.replace("_", "."): value for name, value in settings.items()}
    consumer = Consumer(
        {
            "bootstrap.servers": endpoint,
            "group.id": "tests",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 50_000_000,
            "log_level": 0,
            **own,
        }
    )
    try:
        found = consumer.list_topics(topic, timeout).topics[topic]
        return [
            message for number in sorted(found.partitions) for message in _partition(consumer, topic, number, timeout)
        ]
    finally:
        consumer.close()


def _partition(consumer, topic, number, timeout):
    first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout)
    if first == end:
        return
    consumer.assign([TopicPartition(topic, number, first)])
    offset = first
    while offset < end:
        messages = consumer.consume(min(10_000, end - offset), timeout=1.0)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            yield Message(number, message.offset(), message.key(), message.value(), dict(message.headers() or ()))
            offset = message.offset() + 1
