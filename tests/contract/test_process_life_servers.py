"""
Servers that keep worker processes: every call of every worker is in the store once, and the server ends as it should.
"""

import http.client
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from lives import LATE, SQLITE, Life, is_quiet

pytestmark = pytest.mark.slow


@pytest.fixture
def life(tmp_path, server):
    running = Life(tmp_path, server)
    yield running
    running.close()


class _Connection(http.client.HTTPConnection):
    """
    A connection to a Unix socket.
    """

    def __init__(self, path):
        super().__init__("web", timeout=30)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.close()
            raise


class Web:
    """
    A server program on a Unix socket.
    """

    def __init__(self, life, command, **settings):
        self._life = life
        self._socket = life.folder / "web.sock"
        self.process = life.start(command, **settings)
        life.wait_until(self._answers)

    def get(self, name):
        """
        Give the process id of the worker that made the call.
        """
        with closing(_Connection(self._socket)) as connection:
            connection.request("GET", f"/{name}")
            answer = connection.getresponse()
            assert answer.status == 200
            return int(answer.read())

    def visit(self, *names):
        """
        Give the process ids of the workers that made these calls, several at a time.
        """
        with ThreadPoolExecutor(4) as pool:
            return set(pool.map(self.get, names))

    def stop(self, by=signal.SIGTERM):
        """
        End the server; give its exit code and what it said.
        """
        self.process.send_signal(by)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def _answers(self):
        try:
            self.get("ready")
        except (OSError, http.client.HTTPException):
            assert self.process.poll() is None, self.process.communicate()
            return False
        return True


def gunicorn(life, options, **settings):
    return Web(life, f"-m gunicorn --bind unix:web.sock --workers 2 {options} web:wsgi", **settings)


PRELOAD = pytest.mark.parametrize("preload", ["", "--preload"], ids=["", "preload"])
WORKERS = {
    "sync": "-k sync",
    "gthread": "-k gthread --threads 4",
    "gevent": "-k gevent",
}


class TestGunicorn:
    """Workers forked from a master, before or after the application is imported."""

    @PRELOAD
    @pytest.mark.parametrize("worker", WORKERS.values(), ids=WORKERS)
    def test_workers(self, worker, preload, life):
        """
        What every worker called is delivered when the server is stopped.
        """
        web = gunicorn(life, f"{worker} {preload}", **LATE)
        workers = web.visit(*(f"page-{number}" for number in range(20)))
        code, said = web.stop()
        assert (code, is_quiet(said)) == (0, True), said
        assert web.process.pid not in workers
        assert (len(life.asked), life.stored) == (63, life.asked)

    @PRELOAD
    def test_own_event_loop(self, preload, life):
        """
        An application under gevent that runs an event loop of its own may go on doing so.
        """
        web = gunicorn(life, f"-k gevent {preload}", **SQLITE)
        for number in range(8):  # one at a time: two event loops in one thread would be the application's own fault
            web.get(f"own-loop-{number}")
        code, said = web.stop()
        assert (code, is_quiet(said)) == (0, True), said
        assert (len(life.asked), life.stored) == (27, life.asked)

    @PRELOAD
    def test_recycled_workers(self, preload, life):
        """
        A worker that is replaced after some requests delivers before it goes.
        """
        web = gunicorn(life, f"--max-requests 3 {preload}", **LATE)
        workers = web.visit(*(f"page-{number}" for number in range(15)))
        code, said = web.stop()
        assert (code, is_quiet(said), len(workers) > 2) == (0, True, True), said
        assert (len(life.asked), life.stored) == (48, life.asked)

    def test_reload(self, life):
        """
        SIGHUP replaces the workers, and none of their calls is lost.
        """
        web = gunicorn(life, "", **LATE)
        before = web.visit(*(f"before-{number}" for number in range(8)))
        web.process.send_signal(signal.SIGHUP)
        life.wait_until(lambda: web.get("again") not in before)
        code, said = web.stop()
        assert (code, is_quiet(said)) == (0, True), said
        assert life.stored == life.asked

    def test_killed_worker(self, life):
        """
        What a worker left that was killed is delivered by another one.
        """
        web = gunicorn(life, "", OTEL_LLM_SINKS="sqlite", OTEL_LLM_FLUSH_INTERVAL_MS="60000")
        killed = web.get("page")
        os.kill(killed, signal.SIGKILL)
        life.wait_until(lambda: web.get("again") != killed and "page" in life.stored)
        web.stop()
        assert life.stored == life.asked


class TestUvicorn:
    """Workers spawned by a supervisor."""

    @pytest.mark.parametrize("workers", ["", "--workers 2"], ids=["one", "two"])
    @pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
    def test_workers(self, by, workers, life):
        """
        What every worker called is delivered when the server is stopped.
        """
        web = Web(life, f"-m uvicorn --uds web.sock {workers} web:asgi", **LATE)
        web.visit(*(f"page-{number}" for number in range(20)))
        code, said = web.stop(by)
        assert (is_quiet(said), life.stored) == (True, life.asked), said
        without = Web(life, f"-m uvicorn --uds web.sock {workers} web:asgi", OTEL_SDK_DISABLED="true")
        assert code == without.stop(by)[0]

    def test_reload(self, life):
        """
        `--reload` replaces its worker when a file changes, and the new one is observed as the old one was.
        """
        web = Web(life, "-m uvicorn --uds web.sock --reload --reload-delay 0.05 web:asgi", **LATE)
        before = web.visit("before-0", "before-1")
        with (life.folder / "calls.py").open("a") as file:
            file.write("\n")
        life.wait_until(lambda: not self._is_served_by(web, before))
        web.visit("after-0", "after-1")
        _, said = web.stop()
        assert is_quiet(said), said
        assert life.stored == life.asked

    @staticmethod
    def _is_served_by(web, workers):
        try:
            return web.get("again") in workers
        except (OSError, http.client.HTTPException):
            return True
