"""
A Pub/Sub of our own that keeps the order of each ordering key, checks as the real one does, and fails when told.

It runs in threads of this process; what it holds survives `kill()` and `restart()`.
"""

import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from tests.servers.kit import ports
from tests.servers.kit.pubsub_api import Api

TIER = "quick"
MOST_MESSAGES, MOST_BYTES = 1000, 10_000_000
POISON = "poison"
"""An event type that stands for what only the real one knows to be wrong."""

_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))
_THREADS = 40


def install():
    """
    Nothing is missing where the client is installed.
    """


def start(certificate=None, authority=None):
    """
    Start it, with TLS where a certificate (private key and chain in one file) and its authority are given.
    """
    return OrderedPubsub(certificate, authority)


class OrderedPubsub:
    """
    A running server.
    """

    def __init__(self, certificate=None, authority=None):
        self.topics = defaultdict(list)
        """The messages of each topic, in the order they were taken."""
        self.requests = []
        """The requests that were taken."""
        self.tokens = set()
        """What `authorization` said."""
        self.busiest = Counter()
        """The most requests and messages that were in hand at once."""
        self._failures = deque()
        self._refusal = None
        self._in_hand = Counter()
        self._subscriptions = {}
        self._lock = threading.Lock()
        self._held = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        self._certificate = certificate
        self.endpoint = f"{ports.HOST}:{ports.free()}"
        self.api = Api(self.endpoint, authority)
        self._server = None
        self._listen()

    def fail(self, *codes, key=None, trailing=()):
        """
        Let the next publishes, those of an ordering key or all, end in these status codes, one each.
        """
        self._failures.extend((code, key, trailing) for code in codes)

    def fail_after(self, requests, code):
        """
        Let so many further publishes be taken, and the next one fail.
        """
        self._failures.extend([(None, None, ())] * requests)
        self.fail(code)

    def forget(self):
        """
        Forget what was asked of it and what it was told; its topics stay.
        """
        self.requests.clear()
        self.tokens.clear()
        self.busiest.clear()
        self._failures.clear()
        self._refusal = None

    def refuse(self, code):
        """
        Let every publish end in this status code; None for no more.
        """
        self._refusal = code

    @contextmanager
    def holding(self):
        """
        Answer no publish before the end of the block; gives a function that waits until one is held.
        """
        while self._held.acquire(blocking=False):
            """Forget what was held before."""
        self._open.clear()
        try:
            yield self._wait_for_held
        finally:
            self._open.set()

    def kill(self):
        """
        Hang up on everybody and listen no more.
        """
        server, self._server = self._server, None
        if server is not None:
            server.stop(0).wait()

    def restart(self):
        """
        Listen again at the same address.
        """
        self.kill()
        ports.wait_until_free(int(self.endpoint.rpartition(":")[2]))
        self._listen()

    def stop(self):
        """
        End it.
        """
        self._open.set()
        self.kill()

    def _wait_for_held(self, timeout=10):
        assert self._held.acquire(timeout=timeout)

    def _listen(self):
        self._server = grpc.server(ThreadPoolExecutor(_THREADS), options=_OPTIONS)
        publisher = {"CreateTopic": (self._create_topic, types.Topic), "Publish": (self._publish, types.PublishRequest)}
        subscriber = {
            "CreateSubscription": (self._subscribe, types.Subscription),
            "Pull": (self._pull, types.PullRequest),
            "Acknowledge": (self._acknowledge, types.AcknowledgeRequest),
        }
        self._server.add_generic_rpc_handlers([_service("Publisher", publisher), _service("Subscriber", subscriber)])
        if self._certificate is None:
            self._server.add_insecure_port(self.endpoint)
        else:
            pem = Path(self._certificate).read_bytes()
            self._server.add_secure_port(self.endpoint, grpc.ssl_server_credentials([(pem, pem)]))
        self._server.start()

    def _create_topic(self, topic, _):
        self.topics[topic.name] = []
        return topic

    def _subscribe(self, subscription, _):
        self._subscriptions[subscription.name] = [subscription.topic, 0]
        return subscription

    def _pull(self, request, _):
        topic, seen = self._subscriptions[request.subscription]
        messages = self.topics[topic][seen : seen + request.max_messages]
        received = [types.ReceivedMessage(ack_id=str(seen + n), message=one) for n, one in enumerate(messages, 1)]
        return types.PullResponse(received_messages=received)

    def _acknowledge(self, request, _):
        self._subscriptions[request.subscription][1] = max(map(int, request.ack_ids))
        return empty_pb2.Empty()

    def _publish(self, request, context):
        with self._in_hands(len(request.messages)):
            self.tokens.update(value for name, value in context.invocation_metadata() if name == "authorization")
            if not self._open.is_set():
                self._held.release()
                self._open.wait(30)
            self._fail_as_told(request, context)
            self._check(request, context)
            return self._taken(request)

    @contextmanager
    def _in_hands(self, messages):
        with self._lock:
            self._in_hand.update(requests=1, messages=messages)
            self.busiest |= self._in_hand
        try:
            yield
        finally:
            with self._lock:
                self._in_hand.subtract(requests=1, messages=messages)

    def _fail_as_told(self, request, context):
        if self._refusal is not None:
            context.abort(self._refusal, "refused")
        with self._lock:
            keys = {message.ordering_key for message in request.messages}
            told = next((each for each in self._failures if each[1] is None or each[1] in keys), None)
            if told is None:
                return
            self._failures.remove(told)
        code, _, trailing = told
        if code is None:
            return
        context.set_trailing_metadata(trailing)
        context.abort(code, "failed as told")

    def _check(self, request, context):
        if request.topic not in self.topics:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={request.topic}).")
        too_many = len(request.messages) > MOST_MESSAGES
        too_large = types.PublishRequest.pb(request).ByteSize() > MOST_BYTES
        mixed = len({message.ordering_key for message in request.messages}) > 1
        if too_many or too_large or mixed or any(map(_is_invalid, request.messages)):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The request is not valid.")

    def _taken(self, request):
        with self._lock:
            self.requests.append(request)
            taken = self.topics[request.topic]
            taken.extend(request.messages)
            count = len(request.messages)
            return types.PublishResponse(message_ids=[str(len(taken) - count + n) for n in range(count)])


def _is_invalid(message):
    """
    Say whether the real one would not take it.
    """
    attributes = message.attributes
    long = any(len(name.encode()) > 256 or len(value.encode()) > 1024 for name, value in attributes.items())
    return long or len(attributes) > 100 or len(message.ordering_key.encode()) > 1024 or POISON in attributes.values()


def _service(name, methods):
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(handle, kind.deserialize, _serialized)
        for method, (handle, kind) in methods.items()
    }
    return grpc.method_handlers_generic_handler(f"google.pubsub.v1.{name}", handlers)


def _serialized(answer):
    return answer.SerializeToString() if isinstance(answer, empty_pb2.Empty) else type(answer).serialize(answer)
