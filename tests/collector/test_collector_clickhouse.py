"""`clickhouse.yaml` and the SQL beside it: what the Collector's own exporter wrote answers as SQLite does."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from launch import CHAT

from otel_llm.testing import Reply
from otel_llm.usage.sqlite import SqliteStore
from otel_llm.usage.summary import GROUPS
from tests.clickhouse.answers import CALLS, PLAIN, calls, expected, usage
from tests.conftest import eventually

pytestmark = pytest.mark.server

CONFIGURATIONS = Path(__file__).parents[2] / "collector-config"
FILES = sorted((CONFIGURATIONS / "clickhouse").glob("*.sql"))
README = (CONFIGURATIONS / "clickhouse" / "README.md").read_text()
DATABASE = "shop"
CACHED = Reply(usage={"prompt_tokens": 1000, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 800}})

VARIED = """
import contextlib
import openai, otel_llm
client = openai.OpenAI()
for number, model in enumerate(("gpt-4o", "gpt-4o-mini", "cached", "broken", "busy", "unheard-of-1") * 2):
    stream = {"stream": True, "stream_options": {"include_usage": True}} if number == 6 else {}
    labels = {"tenant_id": f"t{number % 3} \\u2603 'x", "user_id": f"u{number % 2}", "project_id": "p"}
    with otel_llm.labels(**labels), contextlib.suppress(openai.OpenAIError):
        messages = [{"role": "user", "content": model}]
        for _ in client.chat.completions.create(model=model, messages=messages, **stream):
            pass
created = client.responses.create(model="gpt-5.4-nano", input="hi", background=True)
client.responses.retrieve(created.id)
"""
"""Makes calls that succeed, fail, are limited, have no price, and one whose answer is fetched later."""


@pytest.fixture
def clickhouse(servers):
    """
    Give an empty ClickHouse.
    """
    return servers.start("clickhouse")


@pytest.fixture
def exporting(clickhouse, started):
    """
    Give the Collector that writes into it.
    """
    told = {"CLICKHOUSE_ENDPOINT": f"{clickhouse.endpoint}?compress=none", "CLICKHOUSE_DATABASE": DATABASE}
    return started(CONFIGURATIONS / "clickhouse.yaml", **told)


def test_what_it_writes(clickhouse, exporting, run):
    """
    Spans, records and points are rows; a record's row belongs to its span's.
    """
    run(CHAT, exporting)
    (record,), (span,), (cost,) = (written(clickhouse, name) for name in ("logs", "traces", "metrics_sum"))
    assert (record["TraceId"], record["SpanId"]) == (span["TraceId"], span["SpanId"])
    assert float(record["LogAttributes"]["gen_ai.usage.cost"]) == cost["Value"] == 8.55e-06
    assert {record["ServiceName"], span["ServiceName"], cost["ServiceName"]} == {"shop"}


def test_usage_is_that_of_sqlite(server, application, clickhouse, exporting, run):
    """
    On top of the exporter's tables, in a database of any name, our SQL counts each call that is sent from then on.
    """
    run(CHAT, exporting)
    written(clickhouse, "logs")
    for statement in statements():
        clickhouse.rows(statement)
    run(VARIED, exporting, **sqlite(server, application.folder / "calls.db"))
    store = SqliteStore(application.folder / "calls.db")
    with store._connection() as connection:
        kept = calls(connection.execute(f"SELECT {CALLS} FROM llm_calls ORDER BY event_id"))
    written(clickhouse, "logs", 1 + len(kept))
    assert calls(asked(clickhouse, f"SELECT {CALLS} FROM {DATABASE}.llm_calls FINAL ORDER BY event_id")) == kept
    since, until = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
    for by in (*GROUPS, "label.tenant_id"):
        found = usage(partial(asked, clickhouse), by, since, until, DATABASE)
        assert found == expected(store, by, since, until)
    assert hourly(clickhouse) == [{"calls": len(kept), "errors": 2}]


def sqlite(server, path):
    """
    Prepare the provider's answers; gives the variables with which the calls are in SQLite, too.
    """
    server.queue("/chat/completions", *[CACHED] * 2, containing=b'"cached"')
    server.queue("/chat/completions", *[Reply(status=400)] * 2, containing=b'"broken"')
    server.queue("/chat/completions", *[Reply.rate_limited(retry_after=0.01)] * 3, containing=b'"busy"')
    return {"OTEL_LLM_SINKS": "sqlite", "OTEL_LLM_SQLITE_PATH": path}


def hourly(clickhouse):
    """
    Let the sums by hour be made; gives their sum.
    """
    for step in ("REFRESH", "WAIT"):
        clickhouse.rows(f"SYSTEM {step} VIEW {DATABASE}.usage_by_hour_made")
    query = f"SELECT sum(u.calls) AS calls, sum(u.errors) AS errors FROM {DATABASE}.usage_by_hour AS u FINAL"
    return asked(clickhouse, query)


def statements():
    """
    Give our SQL, its database renamed as the README says.
    """
    rename = re.search(r"`sed '(.*)'`", README)[1].replace("DATABASE", DATABASE)
    text = subprocess.run(["sed", rename, *FILES], capture_output=True, text=True, check=True).stdout
    return filter(str.strip, text.split(";\n"))


def asked(clickhouse, query):
    """
    Give the rows of a query, numbers as numbers and decimals as text.
    """
    return clickhouse.rows(f"{query} {PLAIN}")


def written(clickhouse, table, count=1, timeout=60):
    """
    Give what one of the exporter's tables has of otel-llm, as soon as there is so much.
    """
    query = f"SELECT * FROM {DATABASE}.otel_{table} WHERE ScopeName = 'otel_llm'"
    return eventually(lambda: clickhouse.rows(query), lambda found: len(found) >= count, timeout)
