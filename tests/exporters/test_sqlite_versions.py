"""SQLite files of older and newer versions, and tables that are somebody else's."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

from otel_llm.delivery.sink import DELIVERED
from otel_llm.errors import NotDelivered
from otel_llm.usage.schema import COLUMNS, INDEXED

OLDEST = """
CREATE TABLE llm_calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    ended_at TEXT NOT NULL,
    event TEXT NOT NULL
)"""

OLDER = OLDEST.replace("ended_at", "recorded_at TEXT NOT NULL,\n    request_model TEXT,\n    ended_at")

WRITER = """
import sys
from otel_llm.delivery.sink import Batch, Record
from otel_llm.formats import otel
from otel_llm.telemetry.event import Event, new_event_id
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

sink = SqliteSink(SqliteOptions(path=sys.argv[1]))
events = [Event(new_event_id(), "call", 1, 1, 9, "INFO", {"otel_llm.org.id": "o1"}) for _ in range(50)]
print("ready", flush=True)
sys.stdin.readline()
sink.open()
for event in events:
    sink.send(Batch([Record(event, otel.encode(event))]))
sink.close()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.db"


@pytest.fixture
def ask(path):
    """
    Give a function that asks the file.
    """

    def rows(sql: str) -> list[tuple]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    return rows


@pytest.fixture
def older(ask):
    """
    Make the file of an older version, with one call.
    """
    ask("PRAGMA journal_mode = WAL")
    ask(OLDER)
    ask("INSERT INTO llm_calls VALUES (1, 'old', '2025-01-01', 'gpt-4', '2025-01-01', '{}')")


@pytest.fixture
def send(path, batch_of):
    """
    Give a function that opens a sink, sends it one batch, and closes it.
    """

    def deliver(*events) -> object:
        sink = SqliteSink(SqliteOptions(path=str(path)))
        try:
            sink.open()
            return sink.send(batch_of(*events)).outcomes
        finally:
            sink.close()

    return deliver


class TestOlder:
    @pytest.mark.parametrize("table", [OLDEST, OLDER])
    def test_has_all_afterwards(self, table, ask, send, call):
        """A file of an older version gets the columns, the indexes and the view that it lacks."""
        ask(table)
        assert send(call()) == DELIVERED
        assert {name for (name,) in ask("SELECT name FROM pragma_table_info('llm_calls')")} >= COLUMNS.keys()
        names = {name for (name,) in ask("SELECT name FROM sqlite_master")}
        assert names >= {"usage_metrics", "usage_metrics_delete", *(f"llm_calls_{name}" for name in INDEXED)}

    @pytest.mark.usefixtures("older")
    def test_keeps_its_rows(self, ask, send, call):
        """Old rows stay as they are, what nobody recorded is NULL; the view shows old and new ones."""
        send(call(otel_llm__org__id="o1"))
        assert ask("SELECT request_model, org_id FROM llm_calls ORDER BY id") == [("gpt-4", None), ("gpt-4o", "o1")]
        assert ask("SELECT model FROM usage_metrics ORDER BY id") == [("gpt-4",), ("gpt-4o-2024-11-20",)]

    @pytest.mark.usefixtures("older")
    def test_clean_up_line(self, ask, send, call):
        """Calls of an older version can be deleted by the view."""
        send(call())
        ask("DELETE FROM usage_metrics WHERE timestamp < '2026-01-01'")
        assert ask("SELECT request_model FROM llm_calls") == [("gpt-4o",)]

    @pytest.mark.usefixtures("older")
    def test_several_processes_at_once(self, ask, path):
        """Processes that open an older file at the same moment add what it lacks once, and lose nothing."""
        command = [sys.executable, "-c", WRITER, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        told = [process.communicate(timeout=30)[1] for process in processes]
        assert told == [b"", b""]
        assert ask("SELECT count(*), count(org_id) FROM llm_calls") == [(101, 100)]


class TestNewer:
    @pytest.fixture
    def newer(self, ask, send, call):
        """
        Make the file of a newer version, with one call.
        """
        send(call())
        ask("ALTER TABLE llm_calls ADD COLUMN energy_kwh REAL")
        ask("ALTER TABLE llm_calls ADD COLUMN region TEXT NOT NULL DEFAULT 'unknown'")
        ask("CREATE INDEX llm_calls_region ON llm_calls (region)")

    @pytest.mark.usefixtures("newer")
    def test_written(self, ask, send, call):
        """Columns that this version does not know keep their default."""
        assert send(call()) == DELIVERED
        assert ask("SELECT request_model, energy_kwh, region FROM llm_calls") == [("gpt-4o", None, "unknown")] * 2

    @pytest.mark.usefixtures("newer")
    def test_left_alone(self, ask, send, call):
        """Nothing of a newer version is changed."""
        before = ask("SELECT name, sql FROM sqlite_master")
        send(call())
        assert ask("SELECT name, sql FROM sqlite_master") == before

    def test_changed_while_it_is_written(self, ask, path, batch_of, call):
        """A column that a newer version adds while this one writes does not disturb that."""
        sink = SqliteSink(SqliteOptions(path=str(path)))
        sink.open()
        sink.send(batch_of(call()))
        ask("ALTER TABLE llm_calls ADD COLUMN energy_kwh REAL DEFAULT 0")
        assert sink.send(batch_of(call())).outcomes == DELIVERED
        sink.close()


class TestAnothers:
    @pytest.mark.parametrize("lacking", ["id", "event_id", "ended_at", "event"])
    def test_table(self, lacking, ask, send, call):
        """A table without what every version has is named, with the file and what to do, and is not changed."""
        names = {"id", "event_id", "ended_at", "event"} - {lacking}
        ask(f"CREATE TABLE llm_calls ({', '.join(sorted(names))})")
        before = ask("SELECT sql FROM sqlite_master")
        with pytest.raises(NotDelivered, match=rf"calls\.db is another's: it has no column {lacking}.*`path`"):
            send(call())
        assert ask("SELECT sql FROM sqlite_master") == before

    @pytest.mark.parametrize(
        ("kind", "words"), [("TABLE", "ON CONFLICT clause does not match"), ("VIEW", "views may not be indexed")]
    )
    def test_copy(self, kind, words, ask, send, call):
        """A copy of the table that lost its rules, or a view of it, is told in SQLite's words."""
        send(call())
        ask("DROP VIEW usage_metrics")
        ask("ALTER TABLE llm_calls RENAME TO before")
        for name in INDEXED:
            ask(f"DROP INDEX llm_calls_{name}")
        ask(f"CREATE {kind} llm_calls AS SELECT * FROM before")
        with pytest.raises(NotDelivered, match=f"llm_calls does not take calls: {words}"):
            send(call())

    def test_usage_metrics(self, ask, send, call):
        """An older monitor's own table `usage_metrics` stays what it is."""
        ask("CREATE TABLE usage_metrics (id INTEGER PRIMARY KEY, model TEXT)")
        assert [send(call()), send(call())] == [DELIVERED, DELIVERED]
        assert ask("SELECT count(*) FROM usage_metrics") == [(0,)]


def test_a_complete_file_is_opened_beside_a_writer(send, call, path):
    """Where nothing is lacking, a sink does not wait for another one's transaction to be opened."""
    send(call())
    sink = SqliteSink(SqliteOptions(path=str(path), busy_timeout_ms=0))
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        sink.open()
    sink.close()


def test_dropped_table(ask, path, batch_of, call):
    """Where somebody drops the table, the sink says so, and makes it again when it is opened again."""
    sink = SqliteSink(SqliteOptions(path=str(path)))
    sink.open()
    ask("DROP TABLE llm_calls")
    with pytest.raises(NotDelivered, match="no such table"):
        sink.send(batch_of(call()))
    sink.open()
    assert sink.send(batch_of(call())).outcomes == DELIVERED
    assert ask("SELECT count(*) FROM usage_metrics") == [(1,)]
    sink.close()
