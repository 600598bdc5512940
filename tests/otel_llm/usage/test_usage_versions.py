"""SQLite files of older and newer versions are read as they are."""

import json
import sqlite3
from contextlib import closing

import pytest

from otel_llm.cli.main import main
from otel_llm.errors import StoreError
from otel_llm.usage.query import Query
from otel_llm.usage.sqlite import SqliteStore

RECORD = json.dumps({"event_id": "old", "timestamp": "2025-01-01T00:00:00Z", "attributes": {}})

TABLES = {
    "oldest": "CREATE TABLE llm_calls (id INTEGER PRIMARY KEY, event_id TEXT UNIQUE, ended_at TEXT, event TEXT)",
    "older": """
        CREATE TABLE llm_calls (
            id INTEGER PRIMARY KEY, event_id TEXT UNIQUE, ended_at TEXT, request_model TEXT, cost_usd REAL, event TEXT
        )""",
}


@pytest.fixture
def write(tmp_path):
    """
    Give a function that makes a table with one call of 2025 and gives the store.
    """

    def make(table: str, **row: object) -> SqliteStore:
        path = tmp_path / "calls.db"
        row = {"event_id": "old", "ended_at": "2025-01-01 00:00:00.000", "event": RECORD} | row
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(table)
            connection.execute(
                f"INSERT INTO llm_calls ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", (*row.values(),)
            )
        return SqliteStore(path)

    return make


class TestOlder:
    def test_lacking_columns_are_null(self, write):
        """What an older version did not record is None; the rest is read."""
        (call,) = write(TABLES["older"], request_model="gpt-4", cost_usd=0.5).calls(Query())
        assert (call.model, str(call.cost), call.status) == ("gpt-4", "0.5", "success")
        assert (call.provider, call.input_tokens, call.latency_ms, call.labels) == (None, None, None, {})

    @pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            (Query(status="success"), 1),
            (Query(limit=1), 1),
            (Query(user="u-1"), 0),
            (Query(provider="openai"), 0),
            (Query(key="ab"), 0),
            (Query(model="claude"), 0),
            (Query(labels={"tenant": "t1"}), 0),
        ],
    )
    def test_every_question_is_answered(self, write, table, query, found):
        """A filter by a column that is lacking finds nothing."""
        assert len(list(write(table).calls(query))) == found

    @pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
    @pytest.mark.parametrize("by", ["day", "model", "provider", "user", "label.tenant"])
    def test_report(self, write, table, by, capsys):
        """`otel-llm report` sums up an older file, by whatever it is asked."""
        store = write(table)
        assert main(["report", by, "--db", str(store.path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["total"]["calls"] == 1

    def test_tail(self, write, capsys):
        """`otel-llm tail` shows the records of an older file."""
        assert main(["tail", "--db", str(write(TABLES["oldest"]).path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["event_id"] == "old"

    def test_is_left_alone(self, write):
        """Reading adds nothing to an older file."""
        store = write(TABLES["older"])
        before = store.path.read_bytes()
        list(store.calls(Query(labels={"a": "b"})))
        assert store.path.read_bytes() == before


def test_newer(write_db):
    """Columns that this version does not know are not read."""
    store = write_db({"event_id": "a", "ended_at": "2026-11-03 09:00:00.500", "request_model": "gpt-4o"})
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("ALTER TABLE llm_calls ADD COLUMN energy_kwh REAL NOT NULL DEFAULT 1")
        connection.execute("ALTER TABLE llm_calls ADD COLUMN outcome TEXT DEFAULT 'other'")
    (call,) = store.calls(Query(model="gpt-4o", status="success"))
    assert (call.model, call.status, store.events()) == ("gpt-4o", "success", [(1, b"{}")])


class TestAnothers:
    def test_table(self, tmp_path, capsys):
        """A table `llm_calls` that is somebody else's is told by the file and what it has not."""
        with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
            connection.execute("CREATE TABLE llm_calls (id INTEGER PRIMARY KEY, caller TEXT)")
        with pytest.raises(StoreError, match=r"theirs\.db is another's: it has no column event_id"):
            SqliteStore(tmp_path / "theirs.db").events()
        assert main(["report", "--db", str(tmp_path / "theirs.db")]) != 0
        assert "is another's" in capsys.readouterr().err

    def test_file(self, tmp_path):
        """A database without the table has no records yet."""
        with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
            connection.execute("CREATE TABLE notes (text TEXT)")
        with pytest.raises(StoreError, match=r"no records yet: .*theirs\.db has no table llm_calls"):
            list(SqliteStore(tmp_path / "theirs.db").calls(Query()))
