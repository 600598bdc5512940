"""
Servers in processes of their own, so that their CPU time is not taken for ours.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Receiver:
    """
    A web server that takes everything, as a server of the tests is handled.
    """

    def __init__(self) -> None:
        script = str(ROOT / "benchmarks" / "receiver.py")
        self._process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        with self._process:
            self._process.terminate()


@contextmanager
def receiver() -> Iterator[int]:
    """
    Give the port of a receiver.
    """
    server = Receiver()
    try:
        yield server.port
    finally:
        server.stop()


@contextmanager
def started(name: str) -> Iterator[Any]:
    """
    Give the receiver, or a server that the tests know to start; None where they do not.
    """
    sys.path.append(str(ROOT))
    from tests.servers.kit import catalogue
    from tests.servers.kit.missing import Missing

    try:
        server = Receiver() if name == "receiver" else catalogue.module(name).start()
    except Missing as missing:
        print(f"without {name}: {missing}", file=sys.stderr)
        yield None
        return
    try:
        yield server
    finally:
        server.stop()
