"""Questions to a SQLite file are answered as somebody computes who only knows what was emitted."""

import random
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

from otel_llm.delivery.sink import DELIVERED
from otel_llm.usage.query import Query
from otel_llm.usage.sqlite import SqliteStore

CALLS, IN_A_TRACE, BATCH = 2_500, 10, 100
FIRST_DAY = datetime(2026, 2, 27, tzinfo=UTC)
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(4)]
MODELS = {"gpt-4o": ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"], "gpt-4o-mini": ["gpt-4o-mini"], "o3": ["o3", "gpt-4o"]}


@pytest.fixture(scope="module")
def rolled():
    """
    Give the facts of the calls: ten share a trace, and no two facts of a call tell each other.
    """
    dice = random.Random(20260227)
    facts = []
    for number in range(CALLS):
        model = dice.choice([*MODELS])
        # A millisecond before and after midnight, too.
        day, offset = dice.choice(DAYS), dice.choice([0, 1, 86_399_999, dice.randrange(86_400_000)])
        facts.append(
            {
                "trace": f"{number // IN_A_TRACE + 1:032x}",
                "span": f"{dice.getrandbits(63) + 1:016x}",
                "ended_ms": round(day.timestamp() * 1000) + offset,
                "took_s": dice.choice([0.25, 3.5, 7200]),
                "asked": model,
                "answered": dice.choice([*MODELS[model], None]),
                "tokens": dice.randrange(10_000),
                "cost_in_millionths": dice.choice([None, dice.randrange(1_000_000)]),
            }
        )
    dice.shuffle(facts)
    return facts


@pytest.fixture
def emitted(rolled, call):
    """
    Give the events of the calls, with their facts.
    """
    return [(_event(call, fact), fact) for fact in rolled]


def _event(call, fact):
    millionths = fact["cost_in_millionths"]
    event = call(
        at_ns=fact["ended_ms"] * 1_000_000,
        otel_llm__start_time_unix_nano=fact["ended_ms"] * 1_000_000 - round(fact["took_s"] * 1e9),
        otel_llm__duration=fact["took_s"],
        gen_ai__request__model=fact["asked"],
        gen_ai__response__model=fact["answered"],
        gen_ai__response__id=f"chatcmpl-{fact['span']}",
        gen_ai__usage__input_tokens=fact["tokens"],
        gen_ai__usage__cost=None if millionths is None else millionths / 1_000_000,
    )
    return type(event)(*(*(getattr(event, name) for name in event.__struct_fields__[:7]), fact["trace"], fact["span"]))


@pytest.fixture
def path(tmp_path, emitted, batch_of):
    """
    Give a file that the sink wrote, batch by batch, some of them twice.
    """
    sink = SqliteSink(SqliteOptions(path=str(tmp_path / "calls.db")))
    sink.open()
    batches = [batch_of(*(event for event, _ in emitted[at : at + BATCH])) for at in range(0, CALLS, BATCH)]
    outcomes = [sink.send(batch).outcomes for batch in (*batches, *batches[::5])]
    sink.close()
    assert set(outcomes) == {DELIVERED}
    return tmp_path / "calls.db"


def ask(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def _day(fact):
    return f"{datetime.fromtimestamp(fact['ended_ms'] / 1000, UTC):%Y-%m-%d}"


def test_by_trace(path, emitted):
    """A trace id finds its ten calls, with their span ids, models and tokens."""
    expected = defaultdict(set)
    for event, fact in emitted:
        expected[fact["trace"]].add((event.id, fact["span"], fact["asked"], fact["answered"], fact["tokens"]))
    found = defaultdict(set)
    for trace, *told in ask(
        path, "SELECT trace_id, event_id, span_id, request_model, response_model, input_tokens FROM llm_calls"
    ):
        found[trace].add(tuple(told))
    assert found == expected
    trace = emitted[0][1]["trace"]
    assert ask(path, f"SELECT count(*) FROM llm_calls WHERE trace_id = '{trace}'") == [(IN_A_TRACE,)]


def test_by_model(path, emitted):
    """Calls, tokens and cost by requested and by answering model are those of the calls."""
    for column, name in (("request_model", "asked"), ("response_model", "answered")):
        calls, tokens, millionths = Counter(), Counter(), Counter()
        for _, fact in emitted:
            calls[fact[name]] += 1
            tokens[fact[name]] += fact["tokens"]
            millionths[fact[name]] += fact["cost_in_millionths"] or 0
        found = ask(
            path,
            f"SELECT {column}, count(*), sum(input_tokens), sum(CAST(round(cost_usd * 1e6) AS INTEGER)) "
            f"FROM llm_calls GROUP BY {column}",
        )
        assert {row[0]: row[1:] for row in found} == {key: (calls[key], tokens[key], millionths[key]) for key in calls}


def test_by_day(path, emitted):
    """A call belongs to the day on which it was completed, in UTC, to the millisecond."""
    expected = Counter(_day(fact) for _, fact in emitted)
    assert dict(ask(path, "SELECT date(ended_at), count(*) FROM llm_calls GROUP BY 1")) == expected
    assert dict(ask(path, "SELECT substr(timestamp, 1, 10), count(*) FROM usage_metrics GROUP BY 1")) == expected


def test_store(path, emitted):
    """The report's own questions by model and day, alone and together, give the same."""
    store = SqliteStore(path)
    for model in ("gpt-4o", "gpt-4o-mini", "o3", "gpt-4o-2024-08-06"):
        for day in (None, *DAYS):
            query = Query(model=model, since=day, until=None if day is None else day + timedelta(days=1))
            expected = sorted(
                (fact["asked"], fact["tokens"])
                for _, fact in emitted
                if model in {fact["asked"], fact["answered"]} and (day is None or _day(fact) == f"{day:%Y-%m-%d}")
            )
            assert sorted((call.model, call.input_tokens) for call in store.calls(query)) == expected
