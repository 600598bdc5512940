"""The sink on librdkafka's mock cluster, with either client."""

import asyncio
import json
import sys

import pytest
from aiokafka import partitioner
from hypothesis import given
from hypothesis import strategies as st
from otel_llm_exporters import kafka_confluent
from otel_llm_exporters.kafka import KafkaOptions
from otel_llm_exporters.kafka_aiokafka import murmur2

from otel_llm import diagnostics, plugins
from otel_llm.delivery.sink import Delivered, Rejected, Retry
from otel_llm.errors import MissingExtra, NotDelivered
from otel_llm.settings import SinkSettings, load, read_options
from tests.servers import kafka_mock
from tests.servers._kafka_reader import read

REQUIRED = {"brokers": "k1:9092", "topic": "calls"}


class TestMessages:
    async def test_all_of_it(self, opened, cluster, batch, event):
        """A message has the record as its value, the trace as its key, and headers that say what it is."""
        sent = batch([event(7)])
        async with opened(cluster.bootstrap, "calls") as sink:
            await sink.send(sent)
        (message,) = read(cluster.bootstrap, "calls")
        assert json.loads(message.value)["attributes"]["number"] == 7
        assert message.key == b"a" * 32
        assert message.headers == {
            "event_id": sent.records[0].event.id.encode(),
            "event_type": b"api_call",
            "content-type": b"application/json",
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-01".encode(),
        }

    async def test_bare(self, opened, cluster, batch, event):
        """Without key and headers a message is the record alone, and a batch stays together."""
        cluster.create("wide", 8)
        async with opened(cluster.bootstrap, "wide", key="", headers="false", client="aiokafka") as sink:
            await sink.send(batch([event(number) for number in range(20)]))
        messages = read(cluster.bootstrap, "wide")
        assert {(message.key, len(message.headers)) for message in messages} == {(None, 0)}
        assert len({message.partition for message in messages}) == 1

    async def test_topics(self, opened, cluster, batch, event):
        """A topic's fields come from the event; what no topic may be called is made fit."""
        for name in ("llm-error-a_b", "llm-api_call-unknown"):
            cluster.create(name)
        made = [event(otel_llm__event__type="error", otel_llm__label__team="a b"), event()]
        async with opened(cluster.bootstrap, "llm-{event_type}-{label.team}") as sink:
            receipt = await sink.send(batch(made))
        assert receipt.outcomes == Delivered()
        assert len(read(cluster.bootstrap, "llm-error-a_b")) == 1
        assert len(read(cluster.bootstrap, "llm-api_call-unknown")) == 1

    async def test_partitions(self, opened, cluster, batch, event):
        """A key is in the partition where Java's client puts it, by either of ours."""
        cluster.create("wide", 10)
        keys = ["", "21", "foobar", "a-little-bit-long-string", "ab", "xyz", "ünï"]
        made = [event(session__id=key) for key in keys]
        async with opened(cluster.bootstrap, "wide", key="session_id") as sink:
            await sink.send(batch(made))
        found = {(message.key or b"").decode(): message.partition for message in read(cluster.bootstrap, "wide")}
        # From the tests of Kafka's org.apache.kafka.common.utils.Utils.murmur2.
        murmur = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
        assert {key: found[key] for key in murmur} == {key: (h & 0x7FFFFFFF) % 10 for key, h in murmur.items()}
        assert len(found) == len(keys)

    async def test_order(self, opened, cluster, batch, event, arrived):
        """Records of one trace keep their order over many batches."""
        cluster.create("wide", 5)
        batches = [batch([event(trace_id=f"{number % 7:032x}") for number in range(50)]) for _ in range(10)]
        async with opened(cluster.bootstrap, "wide") as sink:
            for each in batches:
                await sink.send(each)
        places = {event_id: place for place, event_id in enumerate(arrived(cluster.bootstrap, "wide"))}
        traces = {}
        for record in [record for each in batches for record in each.records]:
            traces.setdefault(record.event.trace_id, []).append(places[record.event.id])
        assert all(places == sorted(places) for places in traces.values())
        assert len(places) == 500


@given(st.binary(max_size=70))
def test_murmur2(key):
    """Our hash of a key is that of aiokafka, which is Java's."""
    assert murmur2(key) == partitioner.murmur2(key)


class TestFailures:
    async def test_too_large(self, opened, cluster, batch, outcomes):
        """What the brokers refuse in a crowd is sent again by halves, until nothing but the record at fault is left."""
        cluster.fail(kafka_mock.PRODUCE, *[kafka_mock.MESSAGE_TOO_LARGE] * 4)  # 8, 4, 2 and at last 1 record
        sent = batch(8)
        async with opened(cluster.bootstrap, "calls") as sink:
            receipt = await sink.send(sent)
        assert outcomes(receipt, sent) == ["Rejected", *["Delivered"] * 7]
        assert "larger than the topic takes" in receipt.outcomes[0].reason
        assert len(read(cluster.bootstrap, "calls")) == 7

    async def test_passing_trouble(self, opened, cluster, batch, arrived, ids):
        """What the client can mend by itself is not heard of, and nothing comes twice."""
        cluster.fail(kafka_mock.PRODUCE, kafka_mock.NOT_LEADER, kafka_mock.REQUEST_TIMED_OUT)
        sent = batch(50)
        async with opened(cluster.bootstrap, "calls") as sink:
            receipt = await sink.send(sent)
        assert receipt.outcomes == Delivered()
        assert arrived(cluster.bootstrap, "calls") == ids(sent)

    async def test_unknown_topic(self, opened, cluster, batch, event, monkeypatch, client):
        """Records for a topic that is not there wait, and the reason names it; those for others arrive."""
        monkeypatch.setattr(f"otel_llm_exporters.kafka_{client}._TOPIC_SECONDS", 0.3)
        cluster.fail_topic("llm-error", 3)
        cluster.create("llm-api_call")
        made = [event(1), event(2, otel_llm__event__type="error")]
        async with opened(cluster.bootstrap, "llm-{event_type}") as sink:
            receipt = await sink.send(batch(made))
        good, bad = receipt.outcomes
        assert (good, type(bad)) == (Delivered(), Retry)
        assert "the topic llm-{event_type} does not exist" in bad.reason

    async def test_nobody_there(self, opened, cluster):
        """Where no broker can be reached, opening says so and leaves nothing behind."""
        cluster.kill()
        with pytest.raises(NotDelivered, match="reached"):
            async with opened(cluster.bootstrap, "calls", timeout_ms=300):
                pass

    async def test_closing_in_an_outage(self, opened, cluster, batch):
        """A sink lets go at once, also of what it cannot send."""
        async with opened(cluster.bootstrap, "calls") as sink:
            await sink.send(batch(1))
            cluster.kill()
            sending = asyncio.create_task(sink.send(batch(10)))
            await asyncio.sleep(0.05)
            sending.cancel()
            async with asyncio.timeout(3):
                await sink.close()
        with pytest.raises(asyncio.CancelledError):
            await sending

    async def test_after_an_outage(self, opened, cluster, batch, arrived, ids):
        """A sink that was cancelled and opened again sends the batch once more."""
        sent = batch(20)
        async with opened(cluster.bootstrap, "calls") as sink:
            cluster.kill()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sink.send(sent), 0.2)
            cluster.restart()
            await sink.open()
            receipt = await sink.send(sent)
        assert receipt.outcomes == Delivered()
        assert set(arrived(cluster.bootstrap, "calls")) == set(ids(sent))

    async def test_full_queue(self, opened, cluster, batch, arrived, ids, monkeypatch):
        """What finds no room in librdkafka's queue waits for it, in order."""
        settings = kafka_confluent._settings
        small = {"queue.buffering.max.messages": 10}
        monkeypatch.setattr(kafka_confluent, "_settings", lambda options: settings(options) | small)
        sent = batch(100)
        async with opened(cluster.bootstrap, "calls", client="confluent") as sink:
            await sink.send(sent)
        assert arrived(cluster.bootstrap, "calls") == ids(sent)

    async def test_beyond_any_broker(self, opened, cluster, batch, monkeypatch):
        """What no broker could read is refused without being sent."""
        monkeypatch.setattr("otel_llm_exporters.kafka.MOST_BYTES", 10)
        async with opened(cluster.bootstrap, "calls") as sink:
            receipt = await sink.send(batch(2))
        assert set(receipt.outcomes) == {Rejected("larger than any broker takes")}
        assert read(cluster.bootstrap, "calls") == []


class TestOptions:
    @pytest.mark.parametrize(
        ("raw", "brokers"),
        [
            ("k1", ("k1:9092",)),
            ("k1:9093, k2", ("k1:9093", "k2:9092")),
            (["[::1]:9092", "[::1]"], ("[::1]:9092", "[::1]:9092")),
        ],
    )
    def test_brokers(self, raw, brokers):
        """A broker without a port has Kafka's."""
        options, problems = read_options(KafkaOptions, REQUIRED | {"brokers": raw}, "sinks.kafka")
        assert (options.brokers, problems) == (brokers, ())

    @pytest.mark.parametrize(("raw", "acks"), [("0", "none"), (1, "leader"), (-1, "all"), ("ALL", "all")])
    def test_acks(self, raw, acks):
        """Acknowledgements may be written as Kafka writes them."""
        options, _ = read_options(KafkaOptions, REQUIRED | {"required_acks": raw}, "sinks.kafka")
        assert options.required_acks == acks

    def test_defaults(self):
        """The defaults lose nothing."""
        options, _ = read_options(KafkaOptions, REQUIRED, "sinks.kafka")
        assert (options.required_acks, options.async_, options.key, options.protocol) == (
            "all",
            False,
            "trace_id",
            "PLAINTEXT",
        )

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ({"tls_enabled": True, "tls_ca_file": "missing.pem"}, "readable TLS files"),
            ({"tls_enabled": True, "tls_key_file": __file__}, "tls_cert_file beside tls_key_file"),
            ({"sasl_username": "me"}, "sasl_mechanism beside sasl_username"),
            ({"sasl_mechanism": "oauthbearer"}, "either sasl_token or sasl_token_url for oauthbearer"),
            (
                {"sasl_mechanism": "oauthbearer", "sasl_token_url": "https://login.example.com/token"},
                "sasl_client_id and sasl_client_secret beside sasl_token_url",
            ),
        ],
    )
    def test_contradictions(self, raw, expected):
        """Options that do not go together are one report."""
        _, (problem,) = read_options(KafkaOptions, REQUIRED | raw, "sinks.kafka")
        assert problem.expected == expected

    @pytest.mark.parametrize(("mechanism", "warned"), [("plain", True), ("scram-sha-256", False)])
    def test_password_in_the_clear(self, mechanism, warned, client, monkeypatch):
        """A password that goes in the clear is warned of."""
        monkeypatch.setattr(diagnostics, "_warned", set())
        said = []
        monkeypatch.setattr(diagnostics.logger(), "warning", said.append)
        login = {"sasl_mechanism": mechanism, "sasl_username": "me", "sasl_password": "secret", "client": client}
        plugins.make_sink(SinkSettings("kafka", "kafka", REQUIRED | login))
        assert [("in the clear" in sentence, "secret" in sentence) for sentence in said] == [(True, False)] * warned

    def test_seed(self):
        """The original plugin's settings go on working, under its names."""
        config = {"brokers": ["k1:9092"], "topic": "calls", "batch_size": 200, "batch_timeout": 500}
        config |= {"batch_bytes": 1_048_576, "compression": "lz4", "required_acks": "leader", "async": True}
        plugin = {"DropOnBackpressure": True, "AsyncWorkers": 4, "SinkType": "kafka", "SinkConfig": config}
        loaded = load(plugin, {})
        (sink,) = loaded.sinks
        options, problems = read_options(KafkaOptions, sink.options, "sinks.kafka")
        assert (loaded.problems, problems) == ((), ())
        assert (sink.common.batch_size, sink.common.flush_interval_ms, sink.common.async_workers) == (200, 500, 4)
        assert (options.compression, options.required_acks, options.async_) == ("lz4", "leader", True)

    def test_several_at_once(self, client):
        """`async` asks for several batches at once."""
        sink = plugins.make_sink(SinkSettings("kafka", "kafka", REQUIRED | {"async": "true", "client": client}))
        assert sink.batches_in_flight == 5


class TestMissingClient:
    @pytest.mark.parametrize(
        ("client", "module", "extra"),
        [("aiokafka", "aiokafka", "kafka"), ("confluent", "confluent_kafka", "kafka-confluent")],
    )
    def test_one(self, client, module, extra, monkeypatch):
        """A client that is chosen and not there is named with what brings it."""
        monkeypatch.delitem(sys.modules, f"otel_llm_exporters.kafka_{client}", raising=False)
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtra) as caught:
            plugins.make_sink(SinkSettings("kafka", "kafka", REQUIRED | {"client": client}))
        assert str(caught.value) == f"the kafka sink needs its client: pip install 'otel-llm[{extra}]'"

    def test_both(self, monkeypatch):
        """Where neither is there, the sink is not even loaded."""
        monkeypatch.delitem(sys.modules, "otel_llm_exporters.kafka", raising=False)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(MissingExtra, match=r"pip install 'otel-llm\[kafka\]'"):
            plugins.sink_class("kafka")

    def test_the_other(self, monkeypatch):
        """`auto` takes the client that is there."""
        monkeypatch.setattr("otel_llm_exporters.kafka.find_spec", lambda _: None)
        sink = plugins.make_sink(SinkSettings("kafka", "kafka", REQUIRED))
        assert type(sink._client).__name__ == "ConfluentClient"
