"""
A Pub/Sub topic seen by a consumer: bare gRPC calls, without the client that a sink of ours uses.
"""

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

_SECONDS = 10


class Api:
    """
    Speaks to one emulator at `host:port`.
    """

    def __init__(self, endpoint, authority=None):
        self._endpoint = endpoint
        self._authority = authority

    def create(self, topic):
        """
        Make a topic, with a subscription that keeps the order; `topic` is its full name.
        """
        subscription = types.Subscription(name=_subscription(topic), topic=topic, enable_message_ordering=True)
        with self._channel() as channel:
            _call(channel, "Publisher/CreateTopic", types.Topic(name=topic), types.Topic)
            _call(channel, "Subscriber/CreateSubscription", subscription, types.Subscription)

    def pull(self, topic):
        """
        Give the messages that nobody has pulled yet, as they are delivered.
        """
        taken = []
        with self._channel() as channel:
            while received := self._pulled(channel, _subscription(topic)):
                taken += [one.message for one in received]
        return taken

    def _pulled(self, channel, subscription):
        request = types.PullRequest(subscription=subscription, max_messages=1000, return_immediately=True)
        received = _call(channel, "Subscriber/Pull", request, types.PullResponse).received_messages
        if received:
            ids = [one.ack_id for one in received]
            _call(channel, "Subscriber/Acknowledge", types.AcknowledgeRequest(subscription=subscription, ack_ids=ids))
        return received

    def _channel(self):
        options = [("grpc.max_receive_message_length", -1)]
        if self._authority is None:
            return grpc.insecure_channel(self._endpoint, options)
        return grpc.secure_channel(self._endpoint, grpc.ssl_channel_credentials(self._authority.read_bytes()), options)


def _subscription(topic):
    return topic.replace("/topics/", "/subscriptions/")


def _call(channel, method, request, answer=None):
    read = answer.deserialize if answer else empty_pb2.Empty.FromString
    stub = channel.unary_unary(f"/google.pubsub.v1.{method}", type(request).serialize, read)
    return stub(request, timeout=_SECONDS, wait_for_ready=True)
