"""
A server that takes what is posted: counted, answered as scripted, held, restarted on its port, with TLS where wanted.
"""

import gzip
import json
import ssl
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR

import zstandard

_DECODERS = {
    None: bytes,
    "gzip": gzip.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


@dataclass(frozen=True)
class Answer:
    """
    How one request is answered.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Post:
    """
    One request that arrived.
    """

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    raw: bytes
    status: int

    @property
    def body(self) -> bytes:
        """As it was before compression."""
        return _DECODERS[self.headers.get("content-encoding")](self.raw)

    @property
    def records(self) -> list:
        """What it holds, whichever of the shapes it has."""
        if self.headers["content-type"] == "application/x-ndjson":
            return [json.loads(line) for line in self.body.splitlines()]
        document = json.loads(self.body)
        if isinstance(document, dict):
            document = document.get("events", [document])
        return document


class Receiver:
    """
    Listens on a loopback port from `start` to `stop`; what arrived is kept over restarts.
    """

    def __init__(self, *, certificate=None, client_authority=None, address="127.0.0.1", largest=None) -> None:
        self.posts: list[Post] = []
        self.script: deque[Answer] = deque()
        self.default = Answer()
        self.token = None
        """What `Authorization` must be."""
        self.poison = None
        """Bytes over which a request is refused with 422."""
        self.echo = False
        """Whether an answer quotes the whole request, as some error pages do."""
        self.held = 0
        """Requests that wait for their answer."""
        self.accepted = 0
        """Connections that were made."""
        self._certificate = certificate
        self._client_authority = client_authority
        self._address = address
        self._largest = largest
        self._port = 0
        self._open = threading.Event()
        self._open.set()
        self._changed = threading.Condition()
        self._connections = set()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """Where to post."""
        return f"{'https' if self._certificate else 'http'}://{self._address}:{self._port}/llm"

    @property
    def port(self) -> int:
        """The same over restarts."""
        return self._port

    @property
    def taken(self) -> list[Post]:
        """The requests that were answered with success."""
        return [post for post in self.posts if post.status < 300]

    @property
    def records(self) -> list:
        """All records that were taken, in the order they came."""
        return [record for post in self.taken for record in post.records]

    def start(self):
        """
        Listen, on the former port after a restart.
        """
        self._server = _Server((self._address, self._port), self)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """
        Stop listening, and hang up on who is connected.
        """
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_) -> None:
        self._open.set()
        self.stop()

    @contextmanager
    def holding(self):
        """
        Read requests, but answer none before the end of the block.
        """
        self._open.clear()
        try:
            yield self
        finally:
            self._open.set()

    def wait_for_held(self, timeout=10) -> None:
        """
        Wait until a request waits for its answer.
        """
        with self._changed:
            assert self._changed.wait_for(lambda: self.held, timeout)

    def wait_for_nobody(self, timeout=10) -> None:
        """
        Wait until no client is connected.
        """
        with self._changed:
            assert self._changed.wait_for(lambda: not self._connections, timeout)

    def answer(self, path, headers, raw) -> Answer:
        """
        Take note of a request and say how it is answered.
        """
        with self._changed:
            self.held += 1
            self._changed.notify_all()
        self._open.wait(30)
        with self._changed:
            self.held -= 1
            answer = self._judge(headers, raw)
            if self.echo:
                quoted = f"Cannot POST {path} {headers} ".encode() + _DECODERS[headers.get("content-encoding")](raw)
                answer = replace(answer, body=quoted)
            self.posts.append(Post(path, headers, raw, answer.status))
        return answer

    def _judge(self, headers, raw) -> Answer:
        if self.token is not None and headers.get("authorization") != self.token:
            return Answer(401, body=b"who are you?")
        if self._largest is not None and len(raw) > self._largest:
            return Answer(413, body=b"too large")
        if self.poison is not None and self.poison in raw:
            return Answer(422, body=b"bad")
        return self.script.popleft() if self.script else self.default


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address, receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)
        if receiver._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(receiver._certificate)
            if receiver._client_authority is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(receiver._client_authority)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request, client_address):
        self.receiver.accepted += 1
        self.receiver._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.receiver._changed:
            self.receiver._connections.discard(request)
            self.receiver._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Hang up in silence: clients break off in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.receiver.answer(self.path, headers, raw)
        self.send_response_only(answer.status)
        for name, value in {"content-length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_) -> None:
        """Say nothing."""
