"""
VictoriaLogs: takes what Elasticsearch, Loki and Datadog take. It knows no ids: what comes twice is there twice.
"""

import hashlib
import json
import urllib.parse
import urllib.request

from tests.servers.kit import cache, ports
from tests.servers.kit.install import run
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program, new_folder

TIER = "full"

_PROGRAM = "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-logs"
_VERSION = "v1.117.0"
"""The last state before it moved to a module of its own that the Go proxy has."""
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def install():
    """
    Build it; gives the folder of the program.
    """
    compiler = tool("go", "see https://go.dev/dl")

    def build(folder):
        commands = (
            ["mod", "init", "victorialogs"],
            ["get", f"{_PROGRAM}@{_VERSION}"],
            ["build", "-o", "victoria-logs", _PROGRAM],
        )
        for command in commands:
            run([compiler, *command], env=_ENVIRONMENT, cwd=folder, timeout=1800)

    return cache.made(f"victorialogs-{hashlib.sha256((_PROGRAM + _VERSION).encode()).hexdigest()[:12]}", build)


def start():
    """
    Start it with nothing in it.
    """
    folder = new_folder("victorialogs")
    endpoint = f"http://{ports.HOST}:{ports.free()}"
    address = endpoint.removeprefix("http://")
    command = [install() / "victoria-logs", f"-storageDataPath={folder / 'data'}", f"-httpListenAddr={address}"]
    return VictoriaLogs("victorialogs", command, endpoint=endpoint, folder=folder).start()


class VictoriaLogs(Program):
    """
    A running VictoriaLogs.
    """

    def query(self, logsql):
        """
        Give all records that a query finds, each as its fields.
        """
        self._open("/internal/force_flush")
        lines = self._open("/select/logsql/query", query=logsql, limit=1_000_000).splitlines()
        return [json.loads(line) for line in lines]

    def counts(self, field, pipes="*"):
        """
        Give how many records of a query have each value of a field.
        """
        found = self.query(f'{pipes} | stats by ("{field}") count() records')
        return {record[field]: int(record["records"]) for record in found}

    def days(self):
        """
        Give how many records there are of each day.
        """
        found = self.query("* | stats by (_time:1d) count() records")
        return {record["_time"][:10]: int(record["records"]) for record in found}

    def _open(self, path, **parameters):
        url = f"{self.endpoint}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()
