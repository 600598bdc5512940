"""The page on reliability: every promise names the test that holds it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from otel_llm.cli.main import parser
from otel_llm.delivery.self_metrics import METRICS
from otel_llm.delivery.stats import SinkStats

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
PROMISES = re.findall(r"^\d+\. .*?(?=^\d+\. |\Z)", PAGE.partition("## What is not")[0], re.DOTALL | re.MULTILINE)


@cache
def definitions(path):
    """Give the names of all classes and functions of a file."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part)
def test_the_named_tests_exist(path, name):
    """A test that the page names is there."""
    assert name in definitions(path)


def test_ten_promises():
    """There are ten promises, each with the test that holds it."""
    assert len(PROMISES) == 10
    assert all("`tests/" in promise for promise in PROMISES)


def test_every_metric_is_on_the_page():
    """What is measured is described."""
    told = PAGE.partition("## Looking")[2]
    for metric in METRICS:
        assert metric.name in told or f"`.{metric.name.rpartition('.')[2]}`" in told


def test_every_action_is_on_the_page():
    """What can be done is described."""
    words = parser(["journal"]).parse_args
    for action in re.findall(r"otel-llm journal (\w+)  ", PAGE):
        assert words(["journal", action]).action == action


def test_the_sum_is_that_of_the_books():
    """The sum on the page is the one that the books keep."""
    stats = SinkStats(
        events_produced=10, adopted=2, events_sent=4, filtered=1, dead=1, pending_events=3, events_in_flight=3
    )
    assert "produced + adopted = sent + filtered + dropped (by reason) + dead + pending + in flight" in PAGE
    assert stats.unaccounted == 0
