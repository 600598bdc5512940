import json
import os
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

from otel_llm.delivery.sink import DELIVERED, Rejected
from otel_llm.usage.schema import COLUMNS

DAY_NS = 86_400 * 10**9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "calls.db"


@pytest.fixture
def open_sink(path):
    """
    Give a function that opens a sink; it is closed with the test.
    """
    made: list[SqliteSink] = []

    def make(**options) -> SqliteSink:
        sink = SqliteSink(SqliteOptions(path=str(path), **options))
        sink.open()
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def query(path):
    """
    Give a function that asks the database.
    """

    def ask(sql: str) -> list[tuple]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    return ask


def test_one_row_per_call(open_sink, query, call, batch_of):
    """A call is one row with all its columns."""
    event = call()
    assert open_sink().send(batch_of(event)).outcomes == DELIVERED
    (row,) = query(f"SELECT {', '.join(COLUMNS)} FROM llm_calls")
    found = dict(zip(COLUMNS, row, strict=True))
    recorded = found.pop("recorded_at")
    assert len(recorded) == len("2026-01-12 12:00:00.123")
    assert {name: value for name, value in found.items() if value is not None} == {
        "event_id": event.id,
        "started_at": "2026-01-12 11:59:59.310",
        "ended_at": "2026-01-12 12:00:00.123",
        "service_name": "shop",
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024-11-20",
        "event_type": "api_call",
        "status": "success",
        "http_status": 200,
        "streaming": 0,
        "latency_ms": 813,
        "input_tokens": 1200,
        "output_tokens": 56,
        "total_tokens": 1256,
        "cache_read_tokens": 1000,
        "usage_source": "provider",
        "cost_usd": 0.000123,
        "cost_source": "book",
        "response_id": "chatcmpl-1",
        "attempts": 1,
        "labels": '{"tenant_id":"t1"}',
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
    }


def test_the_whole_record(open_sink, query, call, batch_of):
    """The column `event` holds the whole record as JSON."""
    event = call()
    open_sink().send(batch_of(event))
    assert json.loads(query("SELECT event FROM llm_calls")[0][0])["event_id"] == event.id


def test_absent_is_null(open_sink, query, failed, batch_of):
    """What nobody told is NULL, never 0."""
    open_sink().send(batch_of(failed))
    assert query("SELECT input_tokens, total_tokens, cost_usd, ttft_ms FROM llm_calls") == [(None,) * 4]


def test_sent_twice(open_sink, query, call, batch_of):
    """A batch that is sent twice is stored once."""
    batch = batch_of(call(), call())
    sink = open_sink()
    for _ in range(2):
        assert sink.send(batch).outcomes == DELIVERED
    assert query("SELECT count(*) FROM llm_calls") == [(2,)]


def test_unfit_record(open_sink, query, call, batch_of):
    """A record that SQLite cannot store is rejected together with its batch, of which nothing is stored."""
    sink = open_sink()
    outcome = sink.send(batch_of(call(), call(gen_ai__response__id=["not", "a", "string"]))).outcomes
    assert isinstance(outcome, Rejected)
    assert query("SELECT count(*) FROM llm_calls") == [(0,)]


def test_several_writers(query, call, batch_of, path):
    """Several connections may write at once; each waits for the others."""

    def write() -> None:
        sink = SqliteSink(SqliteOptions(path=str(path)))
        sink.open()
        for _ in range(10):
            sink.send(batch_of(*(call() for _ in range(5))))
        sink.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query("SELECT count(*) FROM llm_calls") == [(200,)]


def test_open_again(open_sink, query, call, batch_of):
    """A sink may be opened again, as after a failure; what is stored stays."""
    sink = open_sink()
    sink.send(batch_of(call()))
    sink.open()
    sink.send(batch_of(call()))
    assert query("SELECT count(*) FROM llm_calls") == [(2,)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork(open_sink, batch_of, call, query):
    """The file is closed while the process forks, and opened again by the next batch."""
    sink = open_sink()
    sink.send(batch_of(call()))
    child = os.fork()
    if not child:
        os._exit(sink._connection is not None)
    status = os.waitpid(child, 0)[1]
    closed = sink._connection is None
    sink.send(batch_of(call()))
    sink.close()
    assert (status, closed, query("SELECT count(*) FROM llm_calls")) == (0, True, [(2,)])


@pytest.mark.parametrize(("sync", "mode"), [(True, "FULL"), (False, "NORMAL")])
def test_sync(open_sink, monkeypatch, sync, mode):
    """Where that is wanted, SQLite waits for the disk at each commit; else at its checkpoints only."""
    made = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: made.append(connect(*args, **options)) or made[-1])
    open_sink(sync=sync)
    assert ["OFF", "NORMAL", "FULL"][made[-1].execute("PRAGMA synchronous").fetchone()[0]] == mode


def test_mode(open_sink, path):
    """Only we may read the database and its write-ahead log."""
    open_sink()
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


class TestUsageMetrics:
    def test_columns(self, open_sink, query, call, failed, batch_of):
        """The view has the columns and the values that the older monitor had."""
        open_sink().send(batch_of(call(otel_llm__key__hash="9f86"), failed))
        assert query(
            "SELECT timestamp, model, prompt_tokens, completion_tokens, total_tokens, request_id, status, latency_ms, "
            "api_key_hash FROM usage_metrics ORDER BY id"
        ) == [
            ("2026-01-12 12:00:00.123", "gpt-4o-2024-11-20", 1200, 56, 1256, "chatcmpl-1", "200", 813, "9f86"),
            ("2026-01-12 12:00:00.123", "gpt-4o-2024-11-20", None, None, None, "chatcmpl-1", "401", 813, None),
        ]

    def test_clean_up_line(self, open_sink, query, call, batch_of):
        """The older monitor's clean-up line deletes old calls, and only those."""
        now = time.time_ns()
        old, recent = call(at_ns=now - 91 * DAY_NS), call(at_ns=now - 89 * DAY_NS)
        open_sink().send(batch_of(old, recent))
        query("DELETE FROM usage_metrics WHERE timestamp < datetime('now', '-90 days')")
        assert query("SELECT event_id FROM llm_calls") == [(recent.id,)]
