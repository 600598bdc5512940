"""Records on their way through a bus into a real Collector: they arrive equal, to the attribute."""

import itertools
import json
import time
import urllib.request

import pytest

pytestmark = pytest.mark.server

FORMATS = ("otlp_proto", "otlp_json")
COUNT = 250
_numbers = itertools.count()


def reading(receiver, options):
    """
    Give the configuration of a Collector that keeps what it gets from one receiver.
    """
    return {
        "receivers": {receiver: options},
        "exporters": {"file": {"path": "kept.jsonl", "flush_interval": "20ms"}},
        "extensions": {"health_check": {"endpoint": "${env:COLLECTOR_HEALTH}"}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"logs": {"receivers": [receiver], "exporters": ["file"]}},
        },
    }


def arrived(collector, count):
    """
    Give the events that arrived, in their order, as soon as there are so many.
    """
    return sorted(collector.events(count), key=lambda event: event.get("number"))


@pytest.mark.parametrize("encoding", FORMATS)
class TestKafka:
    def test_records_arrive_equal(self, servers, started, deliver, events, encoding):
        """
        Attributes of every kind, body, times, severity, resource, scope and ids are those that were sent.
        """
        broker = servers.get("kafka")
        topic = f"calls-{next(_numbers)}-{time.time_ns()}"
        broker.create(topic, partitions=2)
        options = {
            "brokers": [broker.endpoint],
            "group_id": topic,
            "initial_offset": "earliest",
            "logs": {"topics": [topic], "encoding": encoding},
        }
        collector = started(reading("kafka", options))
        sent = events(COUNT)
        deliver(sent, "kafka", format=encoding, brokers=broker.endpoint, topic=topic)
        assert arrived(collector, COUNT) == sent


class TestWebhook:
    @pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
    @pytest.mark.parametrize("encoding", FORMATS)
    def test_otlp_receiver(self, keeper, deliver, events, encoding, compression):
        """
        A Collector's OTLP receiver takes what the webhook posts as it takes any exporter's request.
        """
        sent = events(COUNT)
        url = f"http://{keeper.endpoint}/v1/logs"
        deliver(sent, "webhook", format=encoding, url=url, compression=compression)
        assert arrived(keeper, COUNT) == sent

    @pytest.mark.parametrize("compression", ["none", "gzip"])
    def test_webhook_event_receiver(self, started, deliver, events, compression):
        """
        The receiver for any webhook makes a log record of each document, whose body is the record as `otel` has it.
        """
        options = {"endpoint": "${env:COLLECTOR_HTTP}", "path": "/events", "split_logs_at_json_boundary": True}
        collector = started(reading("webhook_event", options))
        sent = events(COUNT)
        url = f"http://{collector.endpoint}/events"
        deliver(sent, "webhook", format="otel", url=url, body="ndjson", compression=compression)
        kept = collector.events(COUNT)
        assert {json.loads(record.body)["event_id"] for record in kept} == {event.id for event in sent}
        assert len(kept) == COUNT


def test_pubsub(servers, keeper, deliver, events):
    """
    The data of a message is a request that a Collector reads, which is what its receiver for Pub/Sub does with it.
    """
    server = servers.get("ordered-pubsub")
    topic = f"projects/otel-llm/topics/calls-{next(_numbers)}"
    server.api.create(topic)
    sent = events(20)
    options = {"project_id": "otel-llm", "topic_id": topic.rpartition("/")[2], "endpoint": server.endpoint}
    deliver(sent, "pubsub", format="otlp_proto", **options)
    for message in server.api.pull(topic):
        pass_on(message, keeper)
    assert arrived(keeper, 20) == sent


def pass_on(message, collector):
    """
    Post a message's data to a Collector's OTLP receiver.
    """
    headers = {"Content-Type": message.attributes["content_type"]}
    request = urllib.request.Request(f"http://{collector.endpoint}/v1/logs", message.data, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
