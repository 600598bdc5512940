"""
A proxy before Kinesalite or Moto that does what neither does: throttle, refuse, hesitate, hang up.
"""

import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from socket import SHUT_RDWR

from tests.servers.kit import catalogue, ports

TIER = "quick"

_PUT = "Kinesis_20131202.PutRecords"
_JSON = "application/x-amz-json-1.1"
_THROTTLED = {
    "ErrorCode": "ProvisionedThroughputExceededException",
    "ErrorMessage": "Rate exceeded for shard shardId-000000000000 in stream under account 111122223333.",
}


def install(behind="kinesalite"):
    """
    Bring in what stands behind it.
    """
    return catalogue.module(behind).install()


def start(behind="kinesalite"):
    """
    Start it, with a server of that name behind it.
    """
    return KinesisProxy(catalogue.module(behind).start())


class KinesisProxy:
    """
    Passes requests on, unless it was told otherwise; stopping and killing it does the same to the server behind it.
    """

    def __init__(self, behind):
        self.behind = behind
        self.throttle_every = 0
        """Of the records sent, every so manieth is throttled; 0: none, 1: all."""
        self.refusal = None
        """Error code with which every PutRecords is refused."""
        self.refusal_status = 400
        self.refuse_after = 0
        """Requests that are passed on before any is refused."""
        self.attempts = 0
        """The PutRecords that arrived, refused ones too."""
        self.requests = []
        """The PutRecords that were not refused: each a list of its records."""
        self.credentials = set()
        """Access keys and session tokens that were used."""
        self._counter = count(1)
        self._held = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        self._connections = set()
        self._server = None
        self._port = ports.free()
        self._listen()

    @property
    def endpoint(self):
        """Its URL, the same over restarts."""
        return f"http://{ports.HOST}:{self._port}"

    @property
    def api(self):
        """What a consumer sees, past the proxy."""
        return self.behind.api

    @property
    def log(self):
        """The log of the server behind it."""
        return self.behind.log

    def kill(self):
        """
        End both at once, with requests unanswered.
        """
        self._hang_up()
        self.behind.kill()

    def restart(self):
        """
        Start both again at the same address.
        """
        self._hang_up()
        self.behind.restart()
        self._listen()

    def stop(self):
        """
        End both, and remove the data.
        """
        self._open.set()
        self._hang_up()
        self.behind.stop()

    @contextmanager
    def holding(self):
        """
        Answer no PutRecords before the end of the block; gives a function that waits until one is held.
        """
        while self._held.acquire(blocking=False):
            """Forget what was held before."""
        self._open.clear()
        try:
            yield self._wait_for_held
        finally:
            self._open.set()

    def answer(self, headers, body):
        """
        Give status and body of the answer to a request.
        """
        if headers.get("X-Amz-Target") != _PUT:
            return self._pass_on(headers, body)
        self._note(headers)
        if not self._open.is_set():
            self._held.release()
            self._open.wait(30)
        self.attempts += 1
        if self.refusal and len(self.requests) >= self.refuse_after:
            return self.refusal_status, json.dumps({"__type": self.refusal, "message": "no"}).encode()
        request = json.loads(body)
        self.requests.append(request["Records"])
        return self._put(headers, request)

    def _wait_for_held(self, timeout=10):
        assert self._held.acquire(timeout=timeout)

    def _note(self, headers):
        self.credentials.add(headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0])
        self.credentials.add(headers.get("X-Amz-Security-Token"))

    def _put(self, headers, request):
        throttled = [self._throttles() for _ in request["Records"]]
        kept = [record for record, stopped in zip(request["Records"], throttled, strict=True) if not stopped]
        status, body = (
            self._pass_on(headers, json.dumps({**request, "Records": kept}).encode()) if kept else (200, None)
        )
        if status != 200:
            return status, body
        results = iter(json.loads(body)["Records"] if body else ())
        merged = [_THROTTLED if stopped else next(results) for stopped in throttled]
        return 200, json.dumps({"FailedRecordCount": sum(throttled), "Records": merged}).encode()

    def _throttles(self):
        return bool(self.throttle_every) and next(self._counter) % self.throttle_every == 0

    def _pass_on(self, headers, body):
        kept = {name: value for name, value in headers.items() if name.lower() not in {"host", "content-length"}}
        request = urllib.request.Request(f"{self.behind.endpoint}/", body, kept)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _listen(self):
        self._server = _Server((ports.HOST, self._port), self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _hang_up(self):
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address, proxy):
        self.proxy = proxy
        super().__init__(address, _Handler)

    def process_request(self, request, client_address):
        self.proxy._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.proxy._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Hang up in silence: clients break off in these tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.server.proxy.answer(self.headers, body)
        self.send_response(status)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Say nothing."""
