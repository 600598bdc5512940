"""All stores answer the same questions alike."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from otel_llm_exporters.jsonl import JsonlOptions, JsonlSink
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

from otel_llm.cli.main import main
from otel_llm.delivery.sink import Batch, Record
from otel_llm.errors import StoreError
from otel_llm.formats import otel, usage
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import EVENT_NAME, Event
from otel_llm.usage.jsonl import JsonlStore
from otel_llm.usage.postgres import PostgresStore
from otel_llm.usage.query import Query
from otel_llm.usage.sqlite import SqliteStore
from otel_llm.usage.summary import summarise

HASH = "ab12" + "0" * 60

CALLS = {
    "morning": {
        "ended": "2026-11-03 09:00:00.500",
        "started": "2026-11-03T09:00:00.000Z",
        "ms": 500,
        "provider": ("openai", "openai"),
        "models": ("gpt-4o", "gpt-4o-2024-08-06"),
        "tokens": (1000, 200, 400),
        "cost": 0.004,
        "key": HASH,
        "labels": {"tenant": "t1", 'od"d': "x"},
        "user": "u-1",
    },
    "midnight": {
        "ended": "2026-11-04 00:00:00.000",
        "started": "2026-11-03T23:59:58.000Z",
        "ms": 2000,
        "provider": ("azure.ai.openai", "azure"),
        "models": ("gpt-4o", "gpt-4o-2024-11-20"),
        "tokens": (10, 5, None),
        "cost": None,
        "project": "p-1",
        "session": "s-1",
    },
    "limited": {
        "ended": "2026-11-04 12:00:00.030",
        "started": "2026-11-04T12:00:00.000Z",
        "ms": 30,
        "provider": ("anthropic", "anthropic"),
        "models": ("claude-sonnet-4-5", None),
        "tokens": (None, None, None),
        "cost": None,
        "status": "rate_limited",
    },
}


def row(name, **changes):
    call = CALLS[name]
    tokens = call["tokens"]
    return {
        "event_id": name,
        "ended_at": call["ended"],
        "operation": "chat",
        "provider": call["provider"][0],
        "request_model": call["models"][0],
        "response_model": call["models"][1],
        "event_type": "api_call",
        "status": call.get("status", "success"),
        "latency_ms": call["ms"],
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "total_tokens": None if tokens[0] is None else tokens[0] + tokens[1],
        "cache_read_tokens": tokens[2],
        "cost_usd": call["cost"],
        "attempts": 2,
        "key_hash": call.get("key"),
        "user_id": call.get("user"),
        "session_id": call.get("session"),
        "project_id": call.get("project"),
        "labels": None if "labels" not in call else '{"tenant": "t1", "od\\"d": "x"}',
    } | changes


def entry(name, **changes):
    call = CALLS[name]
    tokens = call["tokens"]
    status = call.get("status", "success")
    return {
        "eventId": name,
        "timestamp": call["started"],
        "requestType": "chat",
        "actualProvider": call["provider"][1],
        "requestedModel": call["models"][0],
        "actualModel": call["models"][1],
        "status": status,
        "success": status == "success",
        "metrics": {"durationMs": call["ms"], "ttftMs": None},
        "usage": {"inputTokens": tokens[0], "outputTokens": tokens[1], "cachedTokens": tokens[2]},
        "cost": {"totalCost": call["cost"], "currency": "USD"},
        "retries": 1,
        "apiKey": "checkout" if "key" in call else None,
        "apiKeyHash": call.get("key"),
        "userId": call.get("user"),
        "sessionId": call.get("session"),
        "projectId": call.get("project"),
        "labels": call.get("labels", {}),
    } | changes


@pytest.fixture(params=["sqlite", "postgres", "jsonl"])
def store(request, write_db, write_jsonl):
    if request.param == "sqlite":
        return write_db(*map(row, CALLS))
    if request.param == "postgres":
        return request.getfixturevalue("write_postgres")(*map(row, CALLS))
    return write_jsonl(
        {
            "usage/2026-11-03.jsonl": [entry("morning"), entry("midnight")],
            "usage/2026-11-04.jsonl": [entry("limited")],
            "errors/2026-11-04.jsonl": [entry("limited", errorType="rate_limit_exceeded")],
        }
    )


MORNING, MIDNIGHT, LIMITED = (call["ended"] for call in CALLS.values())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), [MORNING, MIDNIGHT, LIMITED]),
        (Query(since=datetime(2026, 11, 4, tzinfo=UTC)), [MIDNIGHT, LIMITED]),
        (Query(until=datetime(2026, 11, 4, tzinfo=UTC)), [MORNING]),
        (Query(since=datetime(2026, 11, 4, 2, tzinfo=timezone(timedelta(hours=2)))), [MIDNIGHT, LIMITED]),
        (Query(provider="openai"), [MORNING]),
        (Query(provider="azure.ai.openai"), [MIDNIGHT]),
        (Query(provider="azure"), [MIDNIGHT]),
        (Query(provider="nobody"), []),
        (Query(model="gpt-4o"), [MORNING, MIDNIGHT]),
        (Query(model="gpt-4o-2024-08-06"), [MORNING]),
        (Query(key=HASH), [MORNING]),
        (Query(key="ab12"), [MORNING]),
        (Query(key="b12"), []),
        (Query(status="rate_limited"), [LIMITED]),
        (Query(success=True), [MORNING, MIDNIGHT]),
        (Query(success=False), [LIMITED]),
        (Query(user="u-1"), [MORNING]),
        (Query(session="s-1"), [MIDNIGHT]),
        (Query(project="p-1"), [MIDNIGHT]),
        (Query(labels={"tenant": "t1"}), [MORNING]),
        (Query(labels={"tenant": "t1", 'od"d': "x"}), [MORNING]),
        (Query(labels={"tenant": "t2"}), []),
        (Query(limit=2), [LIMITED, MIDNIGHT]),
        (Query(limit=1, offset=1), [MIDNIGHT]),
        (Query(offset=2), [MORNING]),
        (Query(limit=0), []),
        (Query(model="gpt-4o", success=True, user="u-1"), [MORNING]),
    ],
)
def test_filters(store, query, found):
    """
    A query finds the calls that fit all it says; times are compared as moments, limits count from the latest call.
    """
    assert [call.ended_at for call in store.calls(query)] == found


@pytest.mark.parametrize("by", ["day", "hour", "model", "user", "session", "project", "label.tenant", "none"])
def test_both_stores_give_the_same_sums(by, write_db, write_jsonl):
    """
    The same calls give equal summaries, whichever kind of store keeps them.
    """
    of_db = write_db(*map(row, CALLS)).calls(Query())
    of_files = write_jsonl({"usage/2026-11-03.jsonl": list(map(entry, CALLS))}).calls(Query())
    assert summarise(of_db, by) == summarise(of_files, by)


@pytest.mark.parametrize("by", ["day", "hour", "model", "label.tenant", "none"])
def test_both_sinks_write_what_both_stores_read_alike(by, tmp_path):
    """
    Events that went through the sinks `sqlite` and `jsonl` are summed up to the same, a failed one once.
    """
    priced = {"gen_ai.usage.cost": 1.5e-07, "otel_llm.label.tenant": "t1"}
    failed = {"otel_llm.status": "error", "error.type": "overloaded", "otel_llm.event.type": "error"}
    events = [event(1), event(2, **priced), event(3, 2.0005), event(4, **failed)]
    deliver(SqliteSink(SqliteOptions(path=str(tmp_path / "calls.db"))), events, otel.encode)
    deliver(JsonlSink(JsonlOptions(path=str(tmp_path / "logs"))), events, usage.encode)
    of_rows = SqliteStore(tmp_path / "calls.db").calls(Query())
    of_entries = JsonlStore(tmp_path / "logs").calls(Query())
    assert summarise(of_rows, by) == summarise(of_entries, by)


def deliver(sink, events, encode):
    sink.open()
    sink.send(Batch([Record(one, encode(one)) for one in events]))
    sink.close()


def event(number, seconds=1.25, **attributes):
    ended = 1_793_700_900_250_000_000 + round(seconds * 1_000_000_000)
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.response.id": f"chatcmpl-{number}",
        "gen_ai.usage.input_tokens": 100 * number,
        "gen_ai.usage.output_tokens": number,
        "otel_llm.status": "success",
        "otel_llm.event.type": "api_call",
        "otel_llm.start_time_unix_nano": 1_793_700_900_250_000_000,
        "otel_llm.duration": seconds,
        "otel_llm.attempts": number,
    }
    return Event(f"e{number}", EVENT_NAME, ended, ended, 9, "INFO", told | attributes)


def test_sums_of_a_store(store):
    """
    Tokens, money and retries of all calls, each failed call once.
    """
    total = summarise(store.calls(Query()))[1]
    told = (total.calls, total.rate_limited, total.input_tokens, total.cost, total.unpriced, total.retries)
    assert told == (3, 1, 1010, Decimal("0.004"), 1, 3)


class TestResponseIds:
    """A fetched answer shares its response id with the call that created it."""

    @pytest.fixture(params=["write_db", "write_postgres", "jsonl"])
    def fetched_twice(self, request, write_jsonl):
        if request.param != "jsonl":
            fetch = {"response_id": "resp_1", "operation": "fetch_response"}
            return request.getfixturevalue(request.param)(
                row("limited", response_id="resp_1", status="success"),
                row("morning", **fetch),
                row("morning", **fetch, event_id="again"),
            )
        fetch = {"responseId": "resp_1", "requestType": "fetch_response"}
        created = entry("limited", responseId="resp_1", status="success", success=True)
        again = entry("morning", **fetch, eventId="again")
        return write_jsonl({"usage/2026-11-03.jsonl": [created, entry("morning", **fetch), again]})

    def test_cost_and_tokens_count_once(self, fetched_twice):
        """
        Of a background response's creation and two fetches that tell its usage, one carries cost and tokens.
        """
        total = summarise(fetched_twice.calls(Query()))[1]
        assert (total.calls, total.cost, total.input_tokens, total.unpriced) == (3, Decimal("0.004"), 1000, 0)


class TestSqlite:
    @pytest.mark.parametrize(("error_type", "outcome"), [(None, "success"), ("timeout", "error")])
    def test_records_without_a_status_succeeded_unless_they_tell_an_error(self, error_type, outcome, write_db):
        """
        Records of other instrumentations are counted by their error type, and found by it.
        """
        store = write_db(row("morning", status=None, error_type=error_type))
        assert [call.status for call in store.calls(Query(status=outcome, success=outcome == "success"))] == [outcome]

    def test_cost_counts_once_over_separate_questions(self, write_db):
        """
        The reports of two days add up: a fetch on the second day does not cost again.
        """
        store = write_db(
            row("morning", response_id="resp_1"),
            row("morning", response_id="resp_1", event_id="fetch", ended_at="2026-11-05 00:00:00.000"),
        )
        later = summarise(store.calls(Query(since=datetime(2026, 11, 4, tzinfo=UTC))))[1]
        assert (later.calls, later.cost) == (1, None)

    def test_reading_leaves_the_file_alone(self, write_db):
        """
        A report never writes, not even where a writer is at work.
        """
        store = write_db(row("morning"))
        with closing(sqlite3.connect(store.path)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert len(list(store.calls(Query()))) == 1

    def test_a_missing_file_is_not_made(self, tmp_path):
        """
        A path where nothing is raises and stays empty.
        """
        store = SqliteStore(tmp_path / "none.db")
        with pytest.raises(StoreError, match=r"none\.db does not exist"):
            list(store.calls(Query()))
        assert not store.path.exists()

    def test_a_foreign_file_is_told(self, tmp_path):
        """
        A file that is no SQLite database raises with its name.
        """
        path = tmp_path / "notes.db"
        path.write_text("notes, " * 200, encoding="utf-8")
        with pytest.raises(StoreError, match=r"notes\.db cannot be read"):
            list(SqliteStore(path).calls(Query()))

    def test_events_come_in_order(self, write_db):
        """
        The last records come oldest first, and only those after a given row.
        """
        store = write_db(*(row("morning", event_id=str(n), event=f'{{"n":{n}}}') for n in range(4)))
        assert store.events(last=2) == [(3, b'{"n":2}'), (4, b'{"n":3}')]
        assert store.events(after=3) == [(4, b'{"n":3}')]


class TestPostgres:
    def test_no_table(self, write_postgres, servers):
        """
        A database without records says so.
        """
        store = write_postgres()
        servers.get("postgres").empty("usage")
        with pytest.raises(StoreError, match="no records yet: this database has no table llm_calls"):
            list(store.calls(Query()))

    @pytest.mark.parametrize(
        ("dsn", "words"),
        [("swordfish", "no connection string"), ("postgresql://u:swordfish@127.0.0.1:1/db", "Connection refused")],
    )
    def test_unreachable(self, dsn, words):
        """
        What is wrong with a connection is said without its password.
        """
        with pytest.raises(StoreError, match=words) as caught:
            list(PostgresStore(Secret(dsn)).calls(Query()))
        assert "swordfish" not in str(caught.value)

    def test_report(self, write_postgres, servers, capsys):
        """
        `otel-llm report --from-postgres DSN` sums up what is there.
        """
        write_postgres(*map(row, CALLS))
        dsn = f"postgresql://postgres@{servers.get('postgres').endpoint}/usage"
        assert main(["report", "provider", "--from-postgres", dsn, "--csv"]) == 0
        assert "openai,1," in capsys.readouterr().out


class TestJsonl:
    def test_half_written_lines_are_passed_over(self, write_jsonl):
        """
        A line that is no entry is counted and does not stop the reading; an empty one is nothing.
        """
        store = write_jsonl({"usage/2026-11-03.jsonl": [entry("morning"), "", '{"timestamp": "2026-11-', "[]"]})
        assert len(list(store.calls(Query()))) == 1
        assert store.unreadable == 2

    def test_files_before_the_asked_days_are_not_opened(self, write_jsonl):
        """
        Old files are skipped by name.
        """
        store = write_jsonl({"usage/2026-10-01.jsonl": ["garbage"], "usage/2026-11-03.jsonl": [entry("morning")]})
        found = list(store.calls(Query(since=datetime(2026, 11, 3, tzinfo=UTC))))
        assert (len(found), store.unreadable) == (1, 0)

    def test_late_deliveries_are_found(self, write_jsonl):
        """
        A call that was filed days after it was made still belongs to its own day.
        """
        store = write_jsonl({"usage/2026-11-09.jsonl": [entry("morning")]})
        assert len(list(store.calls(Query(until=datetime(2026, 11, 4, tzinfo=UTC))))) == 1

    def test_key_is_found_by_name(self, write_jsonl):
        """
        A usage entry holds its key's name too.
        """
        store = write_jsonl({"usage/2026-11-03.jsonl": [entry("morning"), entry("midnight")]})
        assert [call.ended_at for call in store.calls(Query(key="checkout"))] == [MORNING]

    def test_entries_of_other_writers_are_read(self, write_jsonl):
        """
        An entry with the seed's fields only is a call; its failure shows in `success`.
        """
        bare = {
            "id": "x",
            "timestamp": "2026-11-03T10:00:00.000Z",
            "aliasUsed": "fast",
            "actualProvider": "groq",
            "actualModel": "llama-3.3-70b",
            "usage": {"inputTokens": 8, "outputTokens": 4, "totalTokens": 12},
            "cost": {"totalCost": 0.00002, "currency": "USD", "source": "config"},
            "metrics": {"durationMs": 90, "ttftMs": None},
            "success": False,
        }
        (call,) = write_jsonl({"2026-11-03.jsonl": [bare]}).calls(Query())
        assert (call.model, call.status, call.cost) == ("llama-3.3-70b", "error", Decimal("0.00002"))

    def test_a_missing_folder_is_told(self, tmp_path):
        """
        A folder that is not there raises.
        """
        with pytest.raises(StoreError, match="does not exist"):
            list(JsonlStore(tmp_path / "none").calls(Query()))
