"""
An application of ours under a real Prometheus, for all tests of this folder.
"""

import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.servers.kit import ports
from tests.servers.kit.program import Program

ROOT = Path(__file__).parents[2]
RULES = tuple(sorted((ROOT / "collector-config" / "prometheus").glob("*.rules.yml")))


class Scraped:
    """
    An application and the Prometheus that scrapes it.
    """

    def __init__(self, prometheus, application):
        self.prometheus = prometheus
        self._application = application

    def query(self, expression, accept=bool):
        """
        Wait until an expression gives something, or what is accepted.
        """
        return eventually(lambda: self.prometheus.query(expression), accept, timeout=30)

    def page(self):
        """
        Give what the application shows.
        """
        with urllib.request.urlopen(f"http://{self._application.endpoint}/metrics", timeout=10) as answer:
            return answer.read().decode()


@pytest.fixture(scope="session", params=["released", "next"])
def scraped(request, servers, tmp_path_factory):
    """
    Give an application with each set of metric names.
    """
    folder = tmp_path_factory.mktemp("application")
    target = f"{ports.HOST}:{ports.free()}"
    command = [sys.executable, "-W", "error", Path(__file__).with_name("application.py")]
    told = environment(folder, target, request.param)
    prometheus = servers.start("prometheus", target=target, rules=RULES)
    with prometheus, Program("application", command, endpoint=target, env=told) as application:
        yield Scraped(prometheus, application)
        assert application.last_words() == ""


def environment(folder, target, names):
    """
    Give the variables by which an application shows its metrics at an address.
    """
    return {
        "NO_PROXY": "127.0.0.1,localhost",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": target.rpartition(":")[2],
        "OTEL_LLM_METRIC_NAMES": names,
        "OTEL_LLM_METRIC_LABELS": "tenant_id",
        "OTEL_LLM_METRIC_LABEL_VALUES": "10",
        "OTEL_LLM_SINKS": "jsonl",
        "OTEL_LLM_JSONL_PATH": str(folder / "calls"),
        "OTEL_LLM_JOURNAL_DIR": str(folder / "journal"),
    }
