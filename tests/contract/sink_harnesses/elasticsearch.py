from contextlib import contextmanager

from hook_receiver import Answer
from intakes import Bulk
from sink_harness import Harness

from tests.servers.kit import ports


class ElasticsearchHarness(Harness):
    """
    Indexes into a server that takes `_bulk` by the book; the real ones are in `tests/exporters`.
    """

    client = "httpx2"
    variants = (
        {"compression": "none"},
        {"compression": "gzip"},
        {"data_stream": True, "index": "llm-calls"},
        {"install_template": False},
        {"api_key": "id:key"},
        {"username": "shop", "password": "p"},
    )
    misuses = (
        ({"url": "es1:9200"}, "url: found some text, expected a URL such as"),
        ({"url": "http://es1:9200"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"index": "LLM"}, "index: found 'LLM', expected an index such as llm-calls-%Y.%m.%d: in lower case"),
        ({"index": 'x"; drop'}, "expected an index such as llm-calls-%Y.%m.%d: in lower case"),
        ({"index": "é" * 128}, "at most 255 bytes"),
        ({"index": "_all"}, "first a letter or a digit"),
        ({"index": "%Y.%m.%d"}, "first a letter or a digit"),
        ({"index": "llm-*"}, "expected an index such as"),
        ({"index": "llm-%j"}, "expected only %Y, %m, %d, %H, %G and %V where an index has a date"),
        ({"data_stream": True, "index": "llm-%Y"}, "expected an index without a date"),
        ({"cloud_id": "shop:abc", "url": None}, "cloud_id: found 'shop:abc', expected a cloud id such as"),
        ({"cloud_id": "shop:ZXhhbXBsZS5jb20kYWJjJGRlZg=="}, "expected url or cloud_id, not both"),
        ({"api_key": "a", "username": "b", "password": "c"}, "expected api_key or username, not both"),
        ({"username": "b"}, "expected both username and password, or neither"),
        ({"compression": "zstd"}, "compression: found 'zstd', expected none or gzip"),
    )
    troubles = (
        ("unknown path", "404 Not Found from 127.0.0.1"),
        ("nobody there", "ConnectionRefusedError"),
        ("something else", "127.0.0.1 does not answer _bulk as Elasticsearch does"),
    )
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._server = Bulk().start()

    @property
    def options(self):
        headers = {"Authorization": "ApiKey right"}
        return {"url": self._server.url, "headers": headers, "timeout_ms": 20_000}

    def troubled(self, trouble):
        if trouble == "nobody there":
            return {**self.options, "url": f"http://127.0.0.1:{ports.free()}"}
        if trouble == "unknown path":
            self._server.default = Answer(404)
        self._server.take = lambda *_: self._server.default
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
        self._server.token = "ApiKey another"

    def accept(self):
        self._server.token = None

    def close(self):
        self._server.stop()
