"""
Prometheus, Debian's: it scrapes one target, and is asked over its HTTP API.
"""

import json
import urllib.error
import urllib.parse
import urllib.request

from tests.servers.kit import install as installers
from tests.servers.kit import ports
from tests.servers.kit.program import Program, new_folder

TIER = "quick"

_CONFIG = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}}


def install():
    """
    Bring in the server, and `promtool` with it.
    """
    installers.apt("prometheus", provides="prometheus")


def start(target="127.0.0.1:9464", rules=()):
    """
    Start it for one target (`host:port`), which is the job `app`; `rules` are files with rules.
    """
    install()
    folder = new_folder("prometheus")
    config = folder / "prometheus.yml"
    job = {"job_name": "app", "static_configs": [{"targets": [target]}]}
    # Its YAML is JSON as well.
    config.write_text(json.dumps(_CONFIG | {"rule_files": [str(file) for file in rules], "scrape_configs": [job]}))
    endpoint = f"http://{ports.HOST}:{ports.free()}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={endpoint.removeprefix('http://')}",
        "--log.level=warn",
    ]
    running = Prometheus(
        "prometheus", command, endpoint=endpoint, folder=folder, timeout=120, ready=lambda: _answers(endpoint)
    )
    return running.start()


class Prometheus(Program):
    """
    A running Prometheus.
    """

    def query(self, expression):
        """
        Give what an expression is now, as pairs of labels and value.
        """
        return [
            (series["metric"], float(series["value"][1])) for series in self.get("query", query=expression)["result"]
        ]

    def firing(self):
        """
        Give the names of the alerts that are on, pending or firing.
        """
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"]}

    def get(self, what, **arguments):
        """
        Give the data that one part of the API answers with; raises `OSError` when it refuses.
        """
        url = f"{self.endpoint}/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


def _answers(endpoint):
    try:
        with urllib.request.urlopen(f"{endpoint}/-/ready", timeout=10) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as not_yet:
        not_yet.close()
    except OSError:
        """Nobody listens yet."""
    return False
