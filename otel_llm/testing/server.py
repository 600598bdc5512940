"""
A provider on this machine: a real HTTP/1.1 server, so that a test needs no patched client.

It is written on sockets rather than `http.server` for two reasons: a differential test compares the very bytes that
arrived, and a leak test makes ten thousand calls.
"""

import socket
import socketserver
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from itertools import count
from threading import Condition, Thread, current_thread
from types import TracebackType
from typing import Self

from otel_llm.testing.answer import ID
from otel_llm.testing.provider import Provider
from otel_llm.testing.reply import Reply
from otel_llm.testing.wire import Received, Writer, receive

_ORDINARY = Reply()


class ProviderServer:
    """
    Speaks OpenAI's and Anthropic's APIs on a free local port, for as long as its `with` block runs.

    Answers are deterministic: the same request gets the same words and the same token counts, under a new id.
    `queue` scripts what goes wrong; `requests` holds what arrived.
    """

    def __init__(self, *, default: Reply = _ORDINARY, port: int = 0) -> None:
        self.requests: list[Received] = []
        self.default = default
        """How requests are answered for which nothing is queued."""
        self._provider = Provider()
        self._scripts: list[tuple[str, bytes, deque[Reply]]] = []
        self._numbers = count(1)
        self._changed = Condition()
        self._connections: dict[socket.socket, Thread] = {}
        self._listener = _Listener(port, self._serve)
        self._thread = Thread(target=self._listener.serve_forever, args=(0.01,), name="provider-server", daemon=True)

    @property
    def url(self) -> str:
        """Scheme, host and port: Anthropic's base URL."""
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def openai_url(self) -> str:
        """OpenAI's base URL, which ends in its version."""
        return f"{self.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """What points both SDKs of another process here."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": "sk-local",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-ant-local",
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()
        for connection, thread in tuple(self._connections.items()):
            _hang_up(connection)
            thread.join()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def queue(self, path: str, *replies: Reply, containing: bytes = b"") -> None:
        """
        Answer the next requests whose path ends in `path`, and whose body holds `containing`, with these.
        """
        with self._changed:
            self._scripts = [script for script in self._scripts if script[2]]
            self._scripts.append((path, containing, deque(replies)))

    def wait_for(self, predicate: Callable[["ProviderServer"], bool], timeout: float = 5.0) -> None:
        """
        Wait until something is true of this server; raises `TimeoutError` when it never becomes so.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), timeout):
                raise TimeoutError(f"not so after {timeout:g} s and {len(self.requests)} requests")

    def clear(self) -> None:
        """
        Forget the requests so far and the replies nobody fetched.
        """
        with self._changed:
            self.requests.clear()
            self._scripts.clear()

    def _serve(self, connection: socket.socket, stream: BufferedIOBase) -> None:
        with self._changing():
            self._connections[connection] = current_thread()
        try:
            while (received := receive(stream)) is not None and self._exchange(connection, received):
                pass
        except ConnectionError:
            return
        finally:
            with self._changing():
                del self._connections[connection]

    def _exchange(self, connection: socket.socket, received: Received) -> bool:
        reply = self._arrived(received)
        number = f"{next(self._numbers):0{len(ID)}x}"
        answer = self._provider.answer(received.method, received.target, received.body, reply, number)
        received.status = answer.status
        try:
            finished, gone = Writer(connection, reply).send(answer, received, number.encode()), False
        except ConnectionError:
            finished, gone = False, True
        with self._changing():
            received.finished, received.closed_early = finished, gone
        return finished and received.headers.get("connection", "").lower() != "close"

    def _arrived(self, received: Received) -> Reply:
        with self._changing():
            self.requests.append(received)
            for path, containing, replies in self._scripts:
                if replies and received.path.endswith(path) and containing in received.body:
                    return replies.popleft()
        return self.default

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, serve: Callable[[socket.socket, BufferedIOBase], None]) -> None:
        self.serve = serve
        super().__init__(("127.0.0.1", port), _Connection)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: _Listener

    def handle(self) -> None:
        self.server.serve(self.connection, self.rfile)
