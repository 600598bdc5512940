from contextlib import contextmanager

from hook_receiver import Answer
from intakes import Datadog
from sink_harness import Harness

from tests.servers.kit import ports


class DatadogHarness(Harness):
    """
    Sends to a server that holds to Datadog's limits.
    """

    client = "httpx2"
    variants = ({"compression": "none"}, {"compression": "gzip"}, {"tags": "team:shop,tier:gold"})
    misuses = (
        ({"api_key": None}, "api_key: found nothing, expected a value, as it has no default"),
        ({"site": "https://app.datadoghq.eu"}, "site: found 'https://app.datadoghq.eu', expected a site such as"),
        ({"url": "http://proxy.example.com"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"tags": ["a,b"]}, "tags: found a list, expected tags such as team:shop"),
        ({"compression": "zstd"}, "compression: found 'zstd', expected none or gzip"),
    )
    troubles = (("unknown path", "404 Not Found from 127.0.0.1"), ("nobody there", "ConnectionRefusedError"))
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._server = Datadog().start()

    @property
    def options(self):
        return {"url": self._server.url, "api_key": "right", "timeout_ms": 20_000}

    def troubled(self, trouble):
        if trouble == "nobody there":
            return {**self.options, "url": f"http://127.0.0.1:{ports.free()}"}
        self._server.default = Answer(404)
        return self.options

    def arrived(self):
        return list(self._server.arrived)

    def stop(self):
        self._server.stop()

    def start(self):
        self._server.start()

    @contextmanager
    def holding(self):
        with self._server.holding():
            yield self._server.wait_for_held

    def refuse(self):
        self._server.token = "another"

    def accept(self):
        self._server.token = None

    def close(self):
        self._server.stop()
