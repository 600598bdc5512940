import json
from itertools import count

import grpc
from sink_harness import Harness

_TOPICS = count(1)


class PubsubHarness(Harness):
    """
    Publishes to a server that keeps the order, and pulls from a subscription by bare gRPC.
    """

    client = "google.api_core.exceptions"
    variants = ({}, {"ordering_key": "llm"}, {"flow_control_max": 7, "num_goroutines": 1}, {"attributes": "a=b"})
    misuses = (
        ({"project_id": "My Project"}, "project_id: found 'My Project', expected a project's id"),
        ({"topic_id": "projects/p/topics/t"}, "expected a topic's id without its project: 3 to 255 letters"),
        ({"topic_id": "google-calls"}, "topic_id: found 'google-calls', expected a topic's id"),
        ({"endpoint": "pubsub.example.com/path"}, "expected localhost:8085 for an emulator, or https://"),
        ({"endpoint": "localhost:99999"}, "expected localhost:8085 for an emulator, or https://"),
        ({"endpoint": "[::1:2:3:4:5:6:7:8:9]:80"}, "expected localhost:8085 for an emulator, or https://"),
        ({"credentials_json": "swordfish"}, "found some text, expected the JSON of a credentials file, with its type"),
        ({"credentials_file": "missing.json"}, "expected a file that exists in credentials_file"),
        ({"ca_file": "missing.pem"}, "expected a file that exists in ca_file"),
        ({"ordering_key": "{label.x"}, "expected text with fields in braces, such as {event_type}"),
        ({"ordering_key": "{modell}"}, "did you mean 'model'?"),
        ({"attributes": {"event_id": "x"}}, "names of 1 to 256 bytes, not starting with goog, and not event_id"),
        ({"attributes": {str(number): "x" for number in range(97)}}, "expected 96 attributes at most"),
        ({"num_goroutines": 0}, "num_goroutines: found 0, expected a whole number above 0"),
        ({"flow_control_max": -1}, "flow_control_max: found -1, expected a whole number above 0"),
        ({"timeout_ms": "soon"}, "timeout_ms: found 'soon', expected a whole number"),
    )
    largest = 10_000_000
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._server = request.getfixturevalue("servers").get("ordered-pubsub")
        self._topic_id = f"llm-{next(_TOPICS)}"
        self._topic = f"projects/otel-llm/topics/{self._topic_id}"
        self._server.api.create(self._topic)
        self._pulled = []

    @property
    def options(self):
        return {"project_id": "otel-llm", "topic_id": self._topic_id, "endpoint": self._server.endpoint}

    def arrived(self):
        self._pulled += [json.loads(message.data)["event_id"] for message in self._server.api.pull(self._topic)]
        return list(self._pulled)

    def stop(self):
        self._server.kill()

    def start(self):
        self._server.restart()

    def holding(self):
        return self._server.holding()

    def refuse(self):
        self._server.refuse(grpc.StatusCode.PERMISSION_DENIED)

    def accept(self):
        self._server.refuse(None)

    def close(self):
        self.accept()
