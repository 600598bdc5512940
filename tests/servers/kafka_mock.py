"""
librdkafka's mock cluster: three brokers inside this process, in a hundredth of a second, that fail when told.

It lives in the wheel of confluent-kafka. What it does not do: logging in, TLS, refusing records that are too large, and
`acks=0` (it answers where a broker does not).
"""

import ctypes
import functools
from importlib import metadata

from tests.servers.kit.missing import Missing

TIER = "quick"
BROKERS = 3
PRODUCE, FETCH, METADATA, INIT_PRODUCER_ID = 0, 1, 3, 22
"""Requests that can be made to fail."""
NOT_LEADER, REQUEST_TIMED_OUT, MESSAGE_TOO_LARGE, CORRUPT_MESSAGE = 6, 7, 10, 2
"""Errors of the protocol."""

_PRODUCER = 0
_TEXT = 512


def install():
    """
    Give the library.
    """
    try:
        files = metadata.files("confluent-kafka") or ()
    except metadata.PackageNotFoundError:
        raise Missing("confluent-kafka is not installed: pip install confluent-kafka") from None
    found = [file.locate() for file in files if file.name.startswith("librdkafka") and ".so" in file.name]
    if not found:
        raise Missing("confluent-kafka brings no librdkafka of its own here")
    return _library(str(found[0]))


def start():
    """
    Start a cluster whose topics are made when they are first used.
    """
    return MockCluster(install())


class MockCluster:
    """
    A mock cluster; `endpoint` names its first broker.
    """

    def __init__(self, library):
        self._library = library
        problem = ctypes.create_string_buffer(_TEXT)
        self._client = library.rd_kafka_new(_PRODUCER, None, problem, _TEXT)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, BROKERS)
        if not self._cluster:
            raise RuntimeError(f"no mock cluster: {problem.value.decode()}")
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self.endpoint = self.bootstrap.partition(",")[0]
        library.rd_kafka_mock_start_request_tracking(self._cluster)

    def create(self, topic, partitions=1):
        """
        Make a topic.
        """
        self._check(self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1))

    def fail(self, request, *errors):
        """
        Let the next requests of a kind end in these errors, one each.
        """
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), (ctypes.c_int * len(errors))(*errors)
        )

    def fail_topic(self, topic, error):
        """
        Let a topic be in error whenever somebody asks for it, such as 3 for unknown; 0 mends it.
        """
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)

    def delay(self, milliseconds):
        """
        Let every broker answer so much later.
        """
        for broker in self._brokers():
            self._check(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds))

    def requests(self, kind):
        """
        Say how many requests of a kind came since the last time, or since the start.
        """
        count = ctypes.c_size_t()
        found = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        kinds = [self._library.rd_kafka_mock_request_api_key(found[place]) for place in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(found, count)
        self._library.rd_kafka_mock_clear_requests(self._cluster)
        return kinds.count(kind)

    def kill(self):
        """
        Take all brokers down: connections break and are refused.
        """
        for broker in self._brokers():
            self._check(self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def restart(self):
        """
        Bring all brokers back.
        """
        for broker in self._brokers():
            self._check(self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def stop(self):
        """
        End the cluster.
        """
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
        self._cluster = None

    def _brokers(self):
        return range(1, BROKERS + 1)

    def _check(self, code):
        if code:
            raise RuntimeError(self._library.rd_kafka_err2str(code).decode())


@functools.cache
def _library(path):
    library = ctypes.CDLL(path)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_new", pointer, (number, pointer, text, ctypes.c_size_t)),
        ("rd_kafka_destroy", None, (pointer,)),
        ("rd_kafka_err2str", text, (number,)),
        ("rd_kafka_mock_cluster_new", pointer, (pointer, number)),
        ("rd_kafka_mock_cluster_destroy", None, (pointer,)),
        ("rd_kafka_mock_cluster_bootstraps", text, (pointer,)),
        ("rd_kafka_mock_topic_create", number, (pointer, text, number, number)),
        ("rd_kafka_mock_topic_set_error", None, (pointer, text, number)),
        ("rd_kafka_mock_push_request_errors_array", None, (pointer, ctypes.c_int16, ctypes.c_size_t, pointer)),
        ("rd_kafka_mock_broker_set_down", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_up", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_rtt", number, (pointer, ctypes.c_int32, number)),
        ("rd_kafka_mock_start_request_tracking", None, (pointer,)),
        ("rd_kafka_mock_clear_requests", None, (pointer,)),
        ("rd_kafka_mock_get_requests", ctypes.POINTER(pointer), (pointer, pointer)),
        ("rd_kafka_mock_request_api_key", ctypes.c_int16, (pointer,)),
        ("rd_kafka_mock_request_destroy_array", None, (pointer, ctypes.c_size_t)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
