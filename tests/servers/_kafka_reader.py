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


def read(endpoint, topic):
    """
    Give all messages of a topic, partition after partition, each in order.
    """
    return sorted(messages(endpoint, topic))


def messages(endpoint, topic, timeout=30.0):
    """
    Go through all messages of a topic, as they come.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": endpoint,
            "group.id": "tests",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 50_000_000,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout).topics[topic].partitions
        yield from _messages(consumer, [TopicPartition(topic, number) for number in partitions], timeout)
    finally:
        consumer.close()


def _messages(consumer, partitions, timeout):
    ends = {each.partition: consumer.get_watermark_offsets(each, timeout) for each in partitions}
    missing = {number: end for number, (first, end) in ends.items() if first < end}
    consumer.assign([TopicPartition(each.topic, each.partition, ends[each.partition][0]) for each in partitions])
    while missing:
        # It waits for as many as it is asked for.
        for message in consumer.consume(1000, timeout=0.05):
            if message.error():
                raise KafkaException(message.error())
            number, offset = message.partition(), message.offset()
            yield Message(number, offset, message.key(), message.value(), dict(message.headers() or ()))
            if offset + 1 >= missing.get(number, 0):
                missing.pop(number, None)
