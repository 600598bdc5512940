"""
Labels with odd names and values, on a page that a real Prometheus reads.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.prometheus.conftest import Scraped, environment
from tests.prometheus.odd_labels import LONG, VALUES
from tests.servers.kit import ports
from tests.servers.kit.program import Program

pytestmark = pytest.mark.server

SHOWN = ("x_drop", "n_", LONG, "1st", "", "le", "line_break")
"""What Prometheus' exporter makes of the names: what is no ASCII letter or digit is `_`."""


@pytest.fixture(scope="module")
def odd(servers, tmp_path_factory):
    """
    Give the application and its Prometheus.
    """
    target = f"{ports.HOST}:{ports.free()}"
    command = [sys.executable, "-W", "error", Path(__file__).with_name("odd_labels.py")]
    told = environment(tmp_path_factory.mktemp("odd"), target, "released")
    with (
        servers.start("prometheus", target=target) as prometheus,
        Program("odd", command, endpoint=target, env=told) as application,
    ):
        yield Scraped(prometheus, application)
        assert application.last_words() == ""


@pytest.mark.parametrize("metric", ["otel_llm_cost_total", "shop_answered_total"])
def test_values_are_intact(odd, metric):
    """
    Each value is a series of its own, under each name, and told to the character; only a lone surrogate cannot be.
    """
    series = odd.query(metric, lambda found: len(found) == len(VALUES))
    told = {value.replace("\ud800", "\ufffd") for value in VALUES}
    for name in SHOWN:
        assert {labels.get(f"otel_llm_label_{name}", "") for labels, _ in series} == told
    assert "own" not in series[0][0] or {labels.get("own", "") for labels, _ in series} == told


def test_the_page_is_whole(odd):
    """
    Prometheus' linter reads every line, and no line is there that a value made.
    """
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=odd.page(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    ((_, up),) = odd.query("up")
    assert up == 1
