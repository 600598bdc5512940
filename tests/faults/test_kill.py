"""
What was acknowledged arrives, whenever the process is killed.

A process emits numbered records to a server in the test and is killed (-9) at a random moment, again and again; each
next one adopts what the one before it left.
"""

import json
import os
import random
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.faults.kill_program import BUFFER

PROGRAM = Path(__file__).with_name("kill_program.py")
QUICK, ROUNDS = 5, 200
LONGEST_LIFE = 0.15


class Home(socketserver.ThreadingTCPServer):
    """
    Notes the event ids under which each number arrived.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.arrived = defaultdict(list)
        self.open = threading.Event()
        self.open.set()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self._line():
            if not self.server.open.is_set():
                return
            for number, event_id in json.loads(line):
                self.server.arrived[number].append(event_id)
            self.wfile.write(b"ok\n")

    def _line(self):
        try:
            return self.rfile.readline()
        except ConnectionError:
            return b""


class Writers:
    """
    Processes that emit into a server and a folder.
    """

    def __init__(self, home, folder):
        self.home = home
        self.folder = folder
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(home.server_address[1]), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill_one(self, durability, seconds):
        """
        Let a process emit for so long, then kill it.
        """
        child = self._start("write", durability)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        assert self._ended() == signal.SIGKILL

    def finish_one(self, durability):
        """
        Let a process emit as many records as memory holds and end by itself.
        """
        self._start("finish", durability)
        assert self._ended() == 0

    def drain(self):
        """
        Let a process deliver what all others left.
        """
        self._start("drain", "process")
        assert self._ended() == 0

    def acknowledged(self):
        """
        Give the numbers of the records whose `emit` returned.
        """
        return [int(number) for number in (self.folder / "acknowledged").read_text().split()]

    def missing(self):
        """
        Give the acknowledged numbers that did not arrive.
        """
        return set(self.acknowledged()) - self.home.arrived.keys()

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(30) == 0

    def _start(self, errand, durability):
        self._started += 1
        self._process.stdin.write(f"{errand} {durability} {self._started}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def _ended(self):
        return int(self._process.stdout.readline())


@pytest.fixture
def home():
    """Give a server for records."""
    with Home() as running:
        yield running


@pytest.fixture
def writers(home, tmp_path):
    """Give processes to be killed."""
    made = Writers(home, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("durability", "rounds"),
    [(durability, QUICK) for durability in ("process", "power", "always")]
    + [pytest.param(durability, ROUNDS, marks=pytest.mark.slow) for durability in ("process", "power", "always")],
)
def test_killed_at_any_moment(writers, home, durability, rounds):
    """Every acknowledged record arrives; one that arrives twice does so under one event id."""
    for _ in range(rounds):
        writers.kill_one(durability, random.uniform(0, LONGEST_LIFE))
    writers.drain()
    assert writers.acknowledged()
    assert not writers.missing()
    assert all(len(set(ids)) == 1 for ids in home.arrived.values())


def test_memory_loses_its_buffer(writers):
    """With durability `memory` a killed process loses what waited, and no more."""
    writers.kill_one("memory", 0.3)
    writers.drain()
    assert len(writers.missing()) <= BUFFER


def test_memory_ends_well(writers, home):
    """With durability `memory` a process that ends by itself leaves on disk what nobody took."""
    home.open.clear()
    writers.finish_one("memory")
    assert not home.arrived
    home.open.set()
    writers.drain()
    assert len(writers.acknowledged()) == BUFFER
    assert not writers.missing()
