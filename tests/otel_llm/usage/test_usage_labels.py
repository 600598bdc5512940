"""Labels of any name and value are found again, each by its own name only."""

import json

import pytest
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

from otel_llm.cli.main import main
from otel_llm.delivery.sink import DELIVERED, Batch, Record
from otel_llm.formats import otel
from otel_llm.telemetry.event import EVENT_NAME, Event
from otel_llm.usage.query import Query
from otel_llm.usage.sqlite import SqliteStore

ODD = [
    'x"; drop table llm_calls; --',
    "x'; drop table llm_calls; --",
    "Ünï",
    "ünï",
    "U\u0308ni\u0308",
    "n" * 70,
    "n" * 71,
    "a",
    "a.",
    "a..b",
    "a.b",
    "$.a",
    'a"b',
    "a'b",
    "a\\b",
    "a[0]",
    "0",
    "%",
    "{key}",
    ":key0",
    "%(key0)s",
    "tab\tand\nline",
    "",
]


@pytest.fixture
def through_sink(tmp_path):
    """
    Send one call for each odd text through the sink: a label of that name, and one of that value.
    """
    events = [
        Event(
            f"e{number}",
            EVENT_NAME,
            number,
            number,
            9,
            "INFO",
            {f"otel_llm.label.{odd}": "found", "otel_llm.label.value": odd},
        )
        for number, odd in enumerate(ODD)
    ]
    sink = SqliteSink(SqliteOptions(path=str(tmp_path / "calls.db")))
    sink.open()
    outcome = sink.send(Batch([Record(event, otel.encode(event)) for event in events])).outcomes
    sink.close()
    assert outcome == DELIVERED
    return SqliteStore(tmp_path / "calls.db")


def rows():
    for number, odd in enumerate(ODD):
        labels = json.dumps({odd: "found", "value": odd})
        yield {"event_id": str(number), "ended_at": "2026-11-03 09:00:00.500", "labels": labels}


def entries():
    for number, odd in enumerate(ODD):
        yield {"eventId": str(number), "timestamp": "2026-11-03T09:00:00Z", "labels": {odd: "found", "value": odd}}


@pytest.fixture(params=["sink", "sqlite", "postgres", "jsonl"])
def store(request):
    get = request.getfixturevalue
    if request.param == "sink":
        return get("through_sink")
    if request.param == "jsonl":
        return get("write_jsonl")({"usage/2026-11-03.jsonl": list(entries())})
    return get("write_db" if request.param == "sqlite" else "write_postgres")(*rows())


def test_found_by_name_and_by_value(store):
    """Each name and each value finds its own call and no other, and leaves the table where it is."""
    for odd in ODD:
        by_name = [call.labels for call in store.calls(Query(labels={odd: "found"}))]
        by_value = [call.labels for call in store.calls(Query(labels={"value": odd}))]
        assert by_name == by_value == [{odd: "found", "value": odd}]
    assert len(list(store.calls(Query()))) == len(ODD)


@pytest.mark.parametrize("odd", ODD[:-1])
def test_report(through_sink, odd, capsys):
    """`otel-llm report` counts calls by a label of any name, and those that have it."""
    command = ["report", f"label.{odd}", "--db", str(through_sink.path), "--label", f"{odd}=found", "--json"]
    assert main([*command, "--label", f"value={odd}"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(group["group"], group["calls"]) for group in report["groups"]] == [("found", 1)]


def test_report_by_value(through_sink, capsys):
    """`otel-llm report` gives a group to each value, whatever it holds."""
    assert main(["report", "label.value", "--db", str(through_sink.path), "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert sorted(group["group"] for group in groups) == sorted(ODD)
