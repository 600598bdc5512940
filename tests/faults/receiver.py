"""A server on this machine that collects posted records, and answers as it is told."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self


class Answer(NamedTuple):
    """
    What the server says, and which of the records it keeps; None: all when it says 2xx.
    """

    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    kept: list[dict[str, Any]] | None = None


class Receiver:
    """
    Listens as long as its `with` block runs; `answer` decides about each request.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.answer: Callable[[list[dict[str, Any]]], Answer] = lambda _records: Answer()
        self.numbers: list[int] = []
        """Numbers of the records it kept, in their order; one that came twice stands here twice."""
        self.ids: list[str] = []
        self.sizes: list[int] = []
        """Of each request."""
        self.times: list[float] = []
        self._clock = clock
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="receiver")
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def first_numbers(self) -> list[int]:
        """The same without repetitions."""
        return list(dict.fromkeys(self.numbers))

    def take(self, body: bytes) -> Answer:
        """
        Answer one request.
        """
        records = json.loads(body)
        with self._lock:
            self.times.append(self._clock())
            self.sizes.append(len(records))
            answer = self.answer(records)
            kept = (records if answer.status < 300 else []) if answer.kept is None else answer.kept
            self.numbers += [record["attributes"].get("number") for record in kept]
            self.ids += [record["event_id"] for record in kept]
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Receiver

    def handle_error(self, *_: object) -> None:
        """
        Say nothing: connections are reset on purpose.
        """


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = self.server.receiver.take(body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """
        Say nothing.
        """
