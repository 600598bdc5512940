"""
Servers that take logs as strictly as those of vendors: what breaks their rules is refused, what arrived is counted.
"""

import json
from contextlib import contextmanager

from hook_receiver import _DECODERS, Answer, Receiver
from sink_harness import Harness

from tests.servers.kit import ports


class Intake(Receiver):
    """
    Takes requests whose bodies are read after decompression; `arrived` are the event ids, in order.
    """

    credential = "authorization"
    """The header that `token` is about."""
    refusal = 401
    """How wrong credentials are answered."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.arrived: list[str] = []
        self.documents: list[dict] = []

    def take(self, headers, body) -> Answer:
        """
        Take a request, or say why not.
        """
        raise NotImplementedError

    def _judge(self, headers, raw) -> Answer:
        if self.token is not None and headers.get(self.credential) != self.token:
            return Answer(self.refusal, body=b"who are you?")
        if self.script or self.default.status != 200:
            return self.script.popleft() if self.script else self.default
        return self.take(headers, _DECODERS[headers.get("content-encoding")](raw))


class Bulk(Intake):
    """
    Elasticsearch's `_bulk`: creates each document once under its id, and has room for templates.
    """

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.templates: list[dict] = []
        self.indices: dict[tuple[str, str], dict] = {}
        self.errors: dict[str, tuple[int, str]] = {}
        """Status and type of the error for single ids, once each."""
        self.label_types = {"flattened"}
        """The types for labels that it knows."""

    def take(self, headers, body) -> Answer:
        if headers["content-type"] == "application/json":
            return self._template(json.loads(body))
        if self._largest is not None and len(body) > self._largest:
            return Answer(413)
        lines = [json.loads(line) for line in body.splitlines()]
        items = [self._create(action["create"], document) for action, document in zip(*[iter(lines)] * 2, strict=True)]
        return Answer(body=json.dumps({"errors": any("error" in item for item in items), "items": items}).encode())

    def _template(self, template) -> Answer:
        kind = template["template"]["mappings"]["properties"]["labels"]["type"]
        if kind not in self.label_types:
            return Answer(400, body=f"No handler for type [{kind}] declared on field [labels]".encode())
        if self.templates:
            return Answer(400, body=b"index template [llm] already exists")
        self.templates.append(template)
        return Answer()

    def _create(self, action, document) -> dict:
        status, kind = self.errors.pop(action["_id"], (201, ""))
        key = action["_index"], action["_id"]
        if key in self.indices:
            status, kind = 409, "version_conflict_engine_exception"
        if kind:
            return {"create": {"status": status, "error": {"type": kind, "reason": "for a reason"}}}
        self.indices[key] = document
        self.documents.append(document)
        self.arrived.append(action["_id"])
        return {"create": {"status": status}}


class Datadog(Intake):
    """
    Datadog's log intake with its limits; an entry that is too large is refused, as it would be cut in the middle.
    """

    credential = "dd-api-key"
    refusal = 403

    def take(self, headers, body) -> Answer:
        if len(body) > 5_000_000:
            return Answer(413, body=b"Payload too large")
        entries = json.loads(body)
        too_large = [one for one in entries if len(json.dumps(one, ensure_ascii=False).encode()) > 1_100_000]
        if headers["content-type"] != "application/json" or len(entries) > 1000 or too_large:
            return Answer(400, body=b"Bad request")
        if not all(isinstance(one[name], str) for one in entries for name in one.keys() - {"timestamp"}):
            return Answer(400, body=b"Bad entry")
        documents = [{**one, **json.loads(one["message"])} for one in entries]
        self.documents += documents
        self.arrived += [document["event_id"] for document in documents]
        return Answer(202, body=b"{}")


class NewRelic(Intake):
    """
    New Relic's Log API with its limits.
    """

    credential = "api-key"
    refusal = 403

    def take(self, headers, body) -> Answer:
        if len(body) > 1_000_000:
            return Answer(413)
        (logs,) = (part["logs"] for part in json.loads(body))
        if headers["content-type"] != "application/json" or not all(isinstance(one["timestamp"], int) for one in logs):
            return Answer(400)
        self.documents += logs
        self.arrived += [log["attributes"]["event_id"] for log in logs]
        return Answer(202, body=b'{"requestId": "1"}')


class Loki(Intake):
    """
    Loki's push: a time is text, a line is at most 256 KB, labels and metadata are texts; what is there is kept once.
    """

    def take(self, headers, body) -> Answer:
        if len(body) > 4 * 1024**2:
            return Answer(413)
        if headers["content-type"] != "application/json":
            return Answer(400, body=b"not snappy")
        streams = json.loads(body)["streams"]
        values = [(*stream["stream"].items(), *value) for stream in streams for value in stream["values"]]
        for *labels, moment, line, metadata in values:
            texts = [moment, line, *metadata.values(), *(text for label in labels for text in label)]
            if not all(isinstance(text, str) for text in texts) or not moment.isdigit():
                return Answer(400, body=b"not a text")
            if len(line.encode()) > 256 * 1024:
                return Answer(400, body=b"max entry size exceeded")
        for *labels, moment, line, metadata in values:
            document = {"labels": dict(labels), "time": moment, "line": json.loads(line), **metadata}
            if document not in self.documents[-2000:]:
                self.documents.append(document)
                self.arrived.append(metadata["event_id"])
        return Answer(204)


class Splunk(Intake):
    """
    Splunk's HTTP Event Collector: events one after another.
    """

    refusal = 403

    def take(self, headers, body) -> Answer:  # noqa: ARG002 - the seam
        if len(body) > 1_000_000:
            return Answer(413)
        events = [json.loads(line) for line in body.splitlines()]
        if any(not event["event"] or set(map(type, event["fields"].values())) - {str} for event in events):
            return Answer(400, body=b'{"text": "Invalid data format", "code": 6}')
        if any(event.get("index") == "elsewhere" for event in events):
            return Answer(400, body=b'{"text": "Incorrect index", "code": 7}')
        self.documents += events
        self.arrived += [event["fields"]["event_id"] for event in events]
        return Answer(body=b'{"text": "Success", "code": 0}')


class IntakeHarness(Harness):
    """
    What the harnesses of sinks for such servers share.
    """

    client = "httpx2"
    intake = Intake
    """The server's class."""
    troubles = (("unknown path", "404 Not Found from 127.0.0.1"), ("nobody there", "ConnectionRefusedError"))
    served = True
    guarded = True

    def __init__(self, folder, request) -> None:
        super().__init__(folder, request)
        self.server = self.intake().start()

    @property
    def options(self):
        return {"url": self.server.url, "api_key": "right", "timeout_ms": 20_000}

    def troubled(self, trouble):
        if trouble == "nobody there":
            return {**self.options, "url": f"http://127.0.0.1:{ports.free()}"}
        self.server.default = Answer(404)
        return self.options

    def arrived(self):
        return list(self.server.arrived)

    def stop(self):
        self.server.stop()

    def start(self):
        self.server.start()

    @contextmanager
    def holding(self):
        with self.server.holding():
            yield self.server.wait_for_held

    def refuse(self):
        self.server.token = "another"

    def accept(self):
        self.server.token = None

    def close(self):
        self.server.stop()
