from contextlib import contextmanager

from hook_receiver import Answer, Receiver
from sink_harness import Harness

from tests.servers.kit import certificates, ports

BODIES = ("array", "envelope", "ndjson", "single")
COMPRESSIONS = ("none", "gzip", "zstd")


class WebhookHarness(Harness):
    """
    Posts to a server that counts.
    """

    client = "httpx2"
    variants = tuple({"body": body, "compression": compression} for body in BODIES for compression in COMPRESSIONS)
    misuses = (
        ({"url": "hooks.example.com"}, "url: found some text, expected a URL such as https://hooks.example.com/llm"),
        ({"url": "http://hooks.example.com"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"signing_secrets": "abc"}, "signing_secrets: found some text, expected secrets like whsec_…"),
        ({"body": "list"}, "body: found 'list', expected array, envelope, ndjson or single"),
    )
    troubles = (
        ("wrong host", "certificate is not valid for '127.0.0.1'"),
        ("unknown authority", "certificate verify failed"),
        ("unknown path", "404 Not Found from 127.0.0.1"),
        ("nobody there", "ConnectionRefusedError"),
    )
    largest = 3_000_000
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._receiver = Receiver(largest=self.largest).start()
        self._secured = None

    @property
    def options(self):
        return {"url": self._receiver.url, "headers": {"Authorization": "Bearer right"}, "timeout_ms": 20_000}

    def troubled(self, trouble):
        if trouble == "unknown path":
            self._receiver.default = Answer(404)
            return self.options
        if trouble == "nobody there":
            return {**self.options, "url": f"http://127.0.0.1:{ports.free()}/"}
        issued = certificates.issue(self.folder)
        certificate = issued.elsewhere if trouble == "wrong host" else issued.server
        self._secured = Receiver(certificate=certificate).start()
        trust = {"ca_file": str(issued.authority)} if trouble == "wrong host" else {}
        return {**self.options, "url": self._secured.url, **trust}

    def arrived(self):
        return [record["event_id"] for record in self._receiver.records]

    def stop(self):
        self._receiver.stop()

    def start(self):
        self._receiver.start()

    @contextmanager
    def holding(self):
        with self._receiver.holding():
            yield self._receiver.wait_for_held

    def refuse(self):
        self._receiver.token = "Bearer another"

    def accept(self):
        self._receiver.token = None

    def close(self):
        self._receiver.stop()
        if self._secured is not None:
            self._secured.stop()
