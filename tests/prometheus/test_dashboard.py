"""
The dashboard: whatever it asks, a Prometheus that scrapes an application of ours has an answer.
"""

import json
import re
from pathlib import Path

import pytest

DASHBOARD = json.loads((Path(__file__).parents[2] / "collector-config" / "prometheus" / "dashboard.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
QUERIES = [
    pytest.param(target["expr"], id=f"{title} {target['refId']}")
    for title, panel in PANELS.items()
    for target in panel["targets"]
]
VARIABLES = [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
FILLED = {"$__rate_interval": "5s", "$__range": "1h", "$job": ".*", "$model": ".*"}


def filled(expression):
    """
    Put in what Grafana puts in when everything is chosen.
    """
    return re.sub(r"\$\w+", lambda found: FILLED[found[0]], expression)


@pytest.mark.server
@pytest.mark.parametrize("expression", QUERIES)
def test_every_query_gives_data(scraped, expression):
    """
    No panel is empty, and none shows a number that is none.
    """
    assert scraped.query(filled(expression), lambda found: found and all(value >= 0 for _, value in found))


@pytest.mark.server
@pytest.mark.parametrize("query", VARIABLES)
def test_every_variable_has_values(scraped, query):
    """
    What can be chosen is found among the labels.
    """
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()
    assert all(labels[label] for labels, _ in scraped.query(filled(series)))


@pytest.mark.server
@pytest.mark.parametrize(("title", "share"), [("Calls that fail", 0.25), ("Input from the prompt cache", 0.8)])
def test_what_it_shows_is_true(scraped, title, share):
    """
    One call in four fails, and four fifths of the input come from the cache.
    """
    (target,) = PANELS[title]["targets"]
    assert scraped.query(filled(target["expr"]), lambda found: found == [({}, pytest.approx(share, abs=0.05))])


def test_panels_do_not_overlap():
    """
    Each panel has its own place in Grafana's grid of 24 columns.
    """
    places = [
        (column, row)
        for panel in PANELS.values()
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(column for column, _ in places) < 24
    assert len(PANELS) == len(DASHBOARD["panels"])
