"""
ClickHouse's engine (chdb) behind as much of its HTTP interface as the Collector's exporter needs; no logins, no TLS.
"""

import importlib.util
import json
import sys
import urllib.request
from pathlib import Path

from tests.servers.kit import ports
from tests.servers.kit.missing import Missing
from tests.servers.kit.program import Program, new_folder

TIER = "quick"

_PROGRAM = Path(__file__).with_name("_clickhouse_http.py")


def install():
    """
    Give the program; its engine comes by pip.
    """
    if importlib.util.find_spec("chdb") is None:
        raise Missing("ClickHouse is not installed: pip install chdb")
    return _PROGRAM


def start():
    """
    Start it without any table; `endpoint` is its URL.
    """
    folder = new_folder("clickhouse")
    port = ports.free()
    command = [sys.executable, install(), port, folder / "data"]
    return ClickHouse("clickhouse", command, endpoint=f"http://{ports.HOST}:{port}", folder=folder).start()


class ClickHouse(Program):
    """
    A running ClickHouse; what it holds survives `restart()`.
    """

    def rows(self, query):
        """
        Give the rows of a query, each a mapping.
        """
        request = urllib.request.Request(f"{self.endpoint}/?default_format=JSONEachRow", query.encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [json.loads(line) for line in answer]
