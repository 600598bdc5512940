"""
Rules and alerts: taken by Prometheus, right on series that are known, and named on their page.
"""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.servers import prometheus
from tests.servers.kit.missing import Missing

FOLDER = Path(__file__).parents[2] / "collector-config" / "prometheus"
FILES = sorted(FOLDER.glob("*.yml"))
PAGE = (FOLDER / "README.md").read_text()


def rules():
    return [rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments):
    try:
        prometheus.install()
    except Missing as missing:
        pytest.skip(str(missing))
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )


@pytest.mark.server
def test_they_are_taken():
    """
    Prometheus' own checker finds nothing wrong.
    """
    done = promtool("check", "rules", *FILES)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.server
def test_they_say_what_they_should():
    """
    On series that are known, rules give what was worked out by hand, and alerts begin when they should, not before.
    """
    done = promtool("test", "rules", "rules.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_is_tested_and_on_the_page(rule):
    """
    No rule is there that nobody tried or nobody told of.
    """
    name = rule.get("alert") or rule["record"]
    tried = Path(__file__).with_name("rules.test.yml").read_text() + (FOLDER / "otel-llm.rules.yml").read_text()
    assert f"`{name}`" in PAGE
    assert tried.count(name) > ("record" in rule)
