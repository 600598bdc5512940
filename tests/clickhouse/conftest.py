"""
Calls of every kind, in SQLite by the sink and in ClickHouse by our SQL, from the same records.
"""

import contextlib
import json
from pathlib import Path

import openai
import pytest

import otel_llm
from otel_llm.formats.otel import from_otel
from otel_llm.telemetry.event import Event
from otel_llm.testing import Reply
from otel_llm.usage.sqlite import SqliteStore
from tests.clickhouse.answers import PLAIN

FILES = sorted((Path(__file__).parents[2] / "collector-config" / "clickhouse").glob("*.sql"))
LOGS = Path(__file__).with_name("otel_logs.sql")
CACHED = Reply(usage={"prompt_tokens": 1000, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 800}})
HI = [{"role": "user", "content": "hi"}]


class ClickHouse:
    """
    ClickHouse in this process, with our tables.
    """

    def __init__(self, session):
        self._session = session
        self.run("CREATE DATABASE IF NOT EXISTS otel")
        for file in (LOGS, *FILES):
            for statement in filter(str.strip, file.read_text().split(";\n")):
                self.run(statement)

    def run(self, statement):
        """
        Run a statement.
        """
        return self._session.query(statement, "JSONEachRow").bytes()

    def rows(self, query):
        """
        Give the rows of a query, numbers of 64 bits as numbers and decimals as text.
        """
        return [json.loads(line) for line in self.run(f"{query} {PLAIN}").splitlines()]

    def insert(self, events):
        """
        Put events into the table of logs as the Collector's exporter does.
        """
        self.insert_rows(rows(events))

    def insert_rows(self, lines):
        """
        Insert what `rows` gave.
        """
        self.run(f"INSERT INTO otel.otel_logs FORMAT JSONEachRow {lines}")


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory):
    """
    Give an empty ClickHouse with our tables.
    """
    chdb = pytest.importorskip(
        "chdb.session", reason="ClickHouse is not installed: pip install chdb", exc_type=ImportError
    )
    session = chdb.Session(str(tmp_path_factory.mktemp("clickhouse")))
    yield ClickHouse(session)
    session.close()


@pytest.fixture
def store(telemetry, server, tmp_path):  # noqa: ARG001 - it switches on
    """
    Give the SQLite file that the sink wrote of calls of every kind.
    """
    path = tmp_path / "calls.db"
    otel_llm.configure(sinks={"sqlite": {"path": str(path)}}, journal_dir=str(tmp_path / "journal"))
    with openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
        _call(server, client)
    assert otel_llm.flush(30)
    return SqliteStore(path)


@pytest.fixture
def filled(clickhouse, store):
    """
    Give the ClickHouse that holds the same records, half of them delivered twice.
    """
    for table in ("otel_logs", "llm_calls", "usage_by_hour"):
        clickhouse.run(f"TRUNCATE TABLE otel.{table}")
    events: list[Event] = [from_otel(body) for _, body in store.events()]
    clickhouse.insert(events)
    clickhouse.insert(events[::2])
    return clickhouse


def _call(server, client):
    for number in range(24):
        with otel_llm.labels(
            tenant_id=f"t{number % 3}", user_id=f"u{number % 5}", session_id=f"s{number}", project_id="p"
        ):
            _chat(server, client, number)
    client.embeddings.create(model="text-embedding-3-small", input="hi")
    client.chat.completions.create(model="unheard-of-1", messages=HI)
    created = client.responses.create(model="gpt-5.4-nano", input="hi", background=True)
    for _ in range(3):
        client.responses.retrieve(created.id)


def _chat(server, client, number):
    server.default = {4: Reply(status=400), 5: Reply.rate_limited()}.get(number % 6, CACHED)
    stream = {"stream": True, "stream_options": {"include_usage": True}} if number % 4 == 0 else {}
    with contextlib.suppress(openai.APIStatusError):
        answer = client.with_options(max_retries=number % 2).chat.completions.create(
            model="gpt-4o" if number % 2 else "gpt-4o-mini", messages=HI, **stream
        )
        for _ in answer if stream else ():
            """Read it all."""
    server.default = Reply()


def rows(events):
    """
    Give events as rows of the table of logs, a line of JSON each.
    """
    return "\n".join(json.dumps(_logged(event)) for event in events)


def _logged(event):
    """
    Give an event as a row: attributes as text, lists and maps as JSON.
    """
    return {
        "Timestamp": f"{event.timestamp_ns // 10**9}.{event.timestamp_ns % 10**9:09d}",
        "TraceId": event.trace_id,
        "SpanId": event.span_id,
        "TraceFlags": event.trace_flags,
        "SeverityText": event.severity_text,
        "SeverityNumber": event.severity_number,
        "ServiceName": event.resource.attributes.get("service.name", ""),
        "Body": "",
        "ResourceAttributes": _texts(event.resource.attributes),
        "ScopeName": event.scope.name,
        "ScopeVersion": event.scope.version,
        "LogAttributes": _texts(event.attributes),
        "EventName": event.name,
    }


def _texts(attributes):
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
