from contextlib import contextmanager

from hook_receiver import Receiver
from sink_harness import Harness

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
    largest = 3_000_000
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._receiver = Receiver(largest=self.largest).start()

    @property
    def options(self):
        return {"url": self._receiver.url, "headers": {"Authorization": "Bearer right"}, "timeout_ms": 20_000}

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
