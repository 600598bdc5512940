import time
from contextlib import contextmanager

from sink_harness import Harness

from tests.servers import kafka_mock
from tests.servers._kafka_reader import read

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
ACKS = ("leader", "all")


class KafkaHarness(Harness):
    """
    Sends to librdkafka's mock cluster, read by librdkafka; the real broker is in `tests/exporters/kafka`.
    """

    variants = (
        *({"compression": compression, "required_acks": acks} for compression in COMPRESSIONS for acks in ACKS),
        {"client": "confluent"},
        {"async": True},
        {"key": ""},
    )
    misuses = (
        ({"brokers": "https://k1"}, "brokers: found 'https://k1', expected addresses such as k1:9092, k2:9092"),
        ({"topic": "llm calls"}, "topic: found 'llm calls', expected a topic of letters, digits, dots, dashes"),
        ({"topic": "llm-{event_typ}"}, "(did you mean 'event_type'?)"),
        ({"compression": "brotli"}, "compression: found 'brotli', expected none, gzip, snappy, lz4 or zstd"),
        ({"required_acks": "quorum"}, "required_acks: found 'quorum', expected none, leader or all"),
        ({"key": "traceid"}, "(did you mean 'trace_id'?)"),
        ({"sasl_mechanism": "gssapi"}, "expected plain, scram-sha-256, scram-sha-512 or oauthbearer"),
        ({"sasl_mechanism": "plain"}, "expected sasl_username and sasl_password for plain"),
        ({"tls_ca_file": __file__}, "expected tls_enabled: true beside the TLS files"),
    )
    served = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._cluster = request.getfixturevalue("servers").start("kafka-mock")
        self._cluster.create("calls")

    @property
    def options(self):
        return {"brokers": self._cluster.bootstrap, "topic": "calls", "timeout_ms": 10_000}

    def arrived(self):
        return [message.headers["event_id"].decode() for message in read(self._cluster.bootstrap, "calls")]

    def stop(self):
        self._cluster.kill()

    def start(self):
        self._cluster.restart()

    @contextmanager
    def holding(self):
        self._cluster.requests(kafka_mock.PRODUCE)
        self._cluster.delay(300)
        yield self._wait_for_produce
        self._cluster.delay(0)

    def _wait_for_produce(self):
        deadline = time.monotonic() + 10
        while not self._cluster.requests(kafka_mock.PRODUCE):
            assert time.monotonic() < deadline, "nothing was sent"
            time.sleep(0.005)

    def close(self):
        self._cluster.stop()
