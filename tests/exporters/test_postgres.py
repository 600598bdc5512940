"""The sink `postgres` on a real server."""

import asyncio
import json
import os
import re
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from otel_llm_exporters import postgres

from otel_llm import plugins
from otel_llm.delivery.sink import DELIVERED, Batch, Record, Rejected
from otel_llm.errors import NotDelivered, StoreError, Unauthorized
from otel_llm.formats import gateway_log
from otel_llm.settings import SinkCommon, SinkSettings
from otel_llm.settings.secret import Secret
from otel_llm.usage.postgres import PostgresStore
from otel_llm.usage.query import Query
from otel_llm.usage.schema import COLUMNS
from tests.servers.kit import certificates

TIMESCALEDB = [*Path("/usr/share/postgresql").glob("*/extension/timescaledb.control")]


class Database:
    """
    A database of one test, asked by a client of our own.
    """

    def __init__(self, server, name):
        self.server = server
        self.name = name
        server.empty(name)

    def rows(self, statement, *values):
        return self.server.rows(statement, *values, dbname=self.name)

    def value(self, statement, *values):
        ((value,),) = self.rows(statement, *values)
        return value

    @property
    def dsn(self):
        return Secret(psycopg.conninfo.make_conninfo(self.server.dsn, dbname=self.name))

    def sink(self, wanted=None, **options):
        options = {"dsn": self.server.dsn, "dbname": self.name, **options}
        return plugins.make_sink(SinkSettings("postgres", "postgres", options, SinkCommon(format=wanted)))

    @asynccontextmanager
    async def opened(self, wanted=None, **options):
        sink = self.sink(wanted, **options)
        await sink.open()
        try:
            yield sink
        finally:
            await sink.close()


@pytest.fixture
def database(servers):
    """
    Give an empty database.
    """
    return Database(servers.get("postgres"), "tests")


async def outcomes(sink, batch):
    return [*(await sink.send(batch)).of(batch)]


class TestRows:
    async def test_columns(self, database, call, batch_of):
        """A call fills its columns; what nobody told is NULL."""
        event = call(otel_llm__label__team="Ä")
        async with database.opened() as sink:
            await sink.send(batch_of(event))
        names = "event_id, started_at, ended_at, service_name, request_model, streaming, latency_ms, ttft_ms"
        assert database.rows(f"SELECT {names} FROM llm_calls") == [
            (
                event.id,
                datetime(2026, 1, 12, 11, 59, 59, 310956, UTC),
                datetime(2026, 1, 12, 12, 0, 0, 123456, UTC),
                "shop",
                "gpt-4o",
                False,
                813,
                None,
            )
        ]
        names = "total_tokens, reasoning_tokens, cost_usd, labels, trace_id, event->>'event_id'"
        assert database.rows(f"SELECT {names} FROM llm_calls") == [
            (1256, None, Decimal("0.0001230000"), {"tenant_id": "t1", "team": "Ä"}, "a" * 32, event.id)
        ]

    async def test_body(self, database, call, batch_of):
        """The whole record is kept beside its columns."""
        batch = batch_of(call())
        async with database.opened() as sink:
            await sink.send(batch)
        assert database.value("SELECT event FROM llm_calls") == json.loads(batch.records[0].body)

    async def test_nul(self, database, call, batch_of):
        """A NUL, which PostgreSQL cannot keep, becomes a replacement character; a backslash and u0000 stay."""
        event = call(gen_ai__request__model="a\0b", otel_llm__label__x="\\\0\\u0000\\\\\0\0", error__type="e\0")
        async with database.opened() as sink:
            assert await outcomes(sink, batch_of(event)) == [DELIVERED]
        model, label, labels = database.rows(
            "SELECT request_model, event->'attributes'->>'otel_llm.label.x', labels->>'x' FROM llm_calls"
        )[0]
        assert model == "a\ufffdb"
        assert label == labels == "\\\ufffd\\u0000\\\\\ufffd\ufffd"

    async def test_foreign_types(self, database, call, batch_of):
        """Numbers as text, and text as numbers, are taken as what they mean."""
        event = call(
            user__id=42, gen_ai__usage__input_tokens=12.0, gen_ai__usage__cost=1, http__response__status_code="200"
        )
        async with database.opened() as sink:
            await sink.send(batch_of(event))
        assert database.rows("SELECT user_id, input_tokens, cost_usd, http_status FROM llm_calls") == [
            ("42", 12, 1, 200)
        ]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"http__response__status_code": "swordfish"}, "http_status: expected a whole number of 64 bits"),
            ({"gen_ai__response__id": ["swordfish"]}, "response_id: expected text, found a list"),
            ({"gen_ai__usage__cost": "swordfish"}, "cost_usd: expected a number"),
            (
                {"gen_ai__usage__cache_read__input_tokens": 2**63},
                "cache_read_tokens: expected a whole number of 64 bits",
            ),
            ({"otel_llm__start_time_unix_nano": 10**30}, "started_at: expected a moment"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    async def test_unstorable(self, database, call, batch_of, changes, words):
        """A value that its column cannot hold costs that record its place, not those beside it; nothing is quoted."""
        batch = batch_of(call(), call(), call())
        bad = call(**changes)
        records = [batch.records[0], Record(bad, b"{}"), batch.records[2]]
        async with database.opened() as sink:
            first, second, third = await outcomes(sink, Batch(records))
        assert (first, third) == (DELIVERED, DELIVERED)
        assert words in second.reason
        assert "swordfish" not in second.reason
        assert database.value("SELECT count(*) FROM llm_calls") == 2

    @pytest.mark.parametrize("body", [b"{", b'{"a": ' * 20_000, b'"\\ud800"'], ids=["half", "deep", "surrogate"])
    async def test_refused_by_the_server(self, database, call, batch_of, body):
        """What the server does not take refuses the batch as a whole, so that it is halved; the sink goes on."""
        good = batch_of(call())
        async with database.opened() as sink:
            receipt = await sink.send(Batch([*good.records, Record(call(), body)]))
            assert isinstance(receipt.outcomes, Rejected)
            assert receipt.outcomes.reason.startswith("PostgreSQL does not take it: ")
            assert await outcomes(sink, good) == [DELIVERED]
        assert database.value("SELECT count(*) FROM llm_calls") == 1

    async def test_constraint_of_the_operator(self, database, call, batch_of):
        """A constraint that the operator added is named, without the value."""
        async with database.opened() as sink:
            database.rows("ALTER TABLE llm_calls ADD CONSTRAINT no_azure CHECK (provider <> 'azure')")
            receipt = await sink.send(batch_of(call(gen_ai__provider__name="azure")))
        assert receipt.outcomes == Rejected("PostgreSQL does not take it: CheckViolation 23514 llm_calls no_azure")


class TestOnce:
    async def test_again(self, database, call, batch_of):
        """A batch that comes again, in part with new records, leaves each event once, as it was."""
        events = [call() for _ in range(5)]
        async with database.opened() as sink:
            await sink.send(batch_of(*events[:3]))
            await sink.send(batch_of(*events))
        rows = database.rows("SELECT event_id FROM llm_calls ORDER BY id")
        assert [event_id for (event_id,) in rows] == [event.id for event in events]

    @pytest.mark.parametrize("partition", ["none", "day"])
    async def test_at_the_same_time(self, database, call, batch_of, partition):
        """Eight processes that come at once make one table, and keep the events that all of them bring once."""
        batch = batch_of(*[call(time_ns(-day)) for day in range(3) for _ in range(20)])
        sinks = [database.sink(partition=partition) for _ in range(8)]
        await asyncio.gather(*(sink.open() for sink in sinks))
        receipts = await asyncio.gather(*(sink.send(batch) for sink in sinks))
        await asyncio.gather(*(sink.close() for sink in sinks))
        assert {type(outcome).__name__ for receipt in receipts for outcome in receipt.of(batch)} <= {
            "Delivered",
            "Retry",
        }
        assert database.rows("SELECT count(*), count(DISTINCT event_id) FROM llm_calls") == [(60, 60)]


class TestTablesOfTheOperator:
    """Tables that take no COPY of ours as it is: what they are told means the same there."""

    @pytest.mark.parametrize(
        "change",
        [
            "ALTER TABLE llm_calls ALTER cost_usd TYPE double precision",
            "ALTER TABLE llm_calls ALTER attempts TYPE double precision",
            "ALTER TABLE llm_calls ALTER provider TYPE varchar(20)",
            "ALTER TABLE llm_calls ALTER event TYPE json",
            "ALTER TABLE llm_calls ALTER streaming TYPE text",
        ],
    )
    async def test_types(self, database, call, batch_of, change):
        """A column of another type holds the same."""
        event = call(gen_ai__usage__cost=0.25, otel_llm__attempts=2)
        columns = "cost_usd, attempts, provider, event->>'event_id', streaming::text"
        async with database.opened() as sink:
            database.rows(change)
            await sink.open()
            assert await outcomes(sink, batch_of(event)) == [DELIVERED]
        assert database.rows(f"SELECT {columns} FROM llm_calls") == [(0.25, 2, "openai", event.id, "false")]

    async def test_type_that_changes(self, database, call, batch_of):
        """A batch that finds a column changed under way arrives all the same."""
        async with database.opened() as sink:
            database.rows("ALTER TABLE llm_calls ALTER cost_usd TYPE double precision")
            assert await outcomes(sink, batch_of(call(gen_ai__usage__cost=0.25))) == [DELIVERED]
        assert database.value("SELECT cost_usd FROM llm_calls") == 0.25

    async def test_row_security(self, database, call, batch_of):
        """A role whose rows are guarded by policies, from which COPY is barred, brings them."""
        async with database.opened():
            role = writer(database, "INSERT, SELECT (event_id)")
            database.rows("ALTER TABLE llm_calls ENABLE ROW LEVEL SECURITY")
            database.rows("CREATE POLICY everybody ON llm_calls USING (true)")
        async with database.opened(user=role, password="swordfish") as sink:
            assert await outcomes(sink, batch_of(call())) == [DELIVERED]
        assert database.value("SELECT count(*) FROM llm_calls") == 1

    async def test_moments(self, database, call, batch_of):
        """A column that knows no time zone holds the moment in that of the session, as PostgreSQL converts it."""
        event = call(noon := time_ns(), otel_llm__start_time_unix_nano=noon)
        there = psycopg.conninfo.make_conninfo(database.server.dsn, options="-c timezone=Asia/Tokyo")
        async with database.opened(dsn=there) as sink:
            database.rows("ALTER TABLE llm_calls ALTER started_at TYPE timestamp")
            await sink.open()
            await sink.send(batch_of(event))
        assert database.value("SELECT started_at AT TIME ZONE 'Asia/Tokyo' = ended_at FROM llm_calls")


class TestKeys:
    async def test_ids_taken(self, database, call, batch_of):
        """Records whose ids somebody has used are refused, not passed over, until the sequence is set as documented."""
        async with database.opened() as sink:
            database.rows(
                "INSERT INTO llm_calls (id, event_id, recorded_at, ended_at, event) "
                "SELECT n, 'restored ' || n, now(), now(), '{}' FROM generate_series(1, 20) n"
            )
            batch = batch_of(*[call() for _ in range(5)])
            refused = Rejected("PostgreSQL does not take it: UniqueViolation 23505 llm_calls llm_calls_pkey")
            assert (await sink.send(batch)).outcomes == refused
            database.rows(re.search(r"`(SELECT setval.+?)`", postgres.__doc__)[1])
            assert await outcomes(sink, batch) == [DELIVERED] * 5
        assert database.value("SELECT count(*) FROM llm_calls") == 20 + 5

    @pytest.mark.parametrize("partition", ["none", "day"])
    async def test_key_of_the_operator(self, database, call, batch_of, partition):
        """A record that clashes with a unique key of the operator's is refused, that alone, and the key is named."""
        first, second = call(time_ns()), call(time_ns())
        async with database.opened(partition=partition) as sink:
            database.rows("ALTER TABLE llm_calls ADD CONSTRAINT one_each UNIQUE (request_model, ended_at)")
            assert isinstance((await sink.send(batch_of(first, second))).outcomes, Rejected)
            assert await outcomes(sink, batch_of(first)) == [DELIVERED]
            assert await outcomes(sink, batch_of(first)) == [DELIVERED]
            (outcome,) = await outcomes(sink, batch_of(second))
        assert outcome.reason.startswith("PostgreSQL does not take it: UniqueViolation 23505 llm_calls")
        assert database.rows("SELECT event_id FROM llm_calls") == [(first.id,)]

    @pytest.mark.parametrize(
        "key",
        [
            "event_id) INCLUDE (provider",
            "event_id, ended_at",
            "event_id); CREATE UNIQUE INDEX ON llm_calls (event_id, ended_at",
        ],
    )
    async def test_key_of_the_table(self, database, call, batch_of, key):
        """A table's own unique key over the event's id, with its time or without, tells what is there already."""
        batch = batch_of(call())
        async with database.opened() as sink:
            database.rows("ALTER TABLE llm_calls DROP CONSTRAINT llm_calls_event_id_key")
            database.rows(f"CREATE UNIQUE INDEX ON llm_calls ({key})")
            await sink.open()
            await sink.send(batch)
            assert await outcomes(sink, batch) == [DELIVERED]
        assert database.value("SELECT count(*) FROM llm_calls") == 1

    @pytest.mark.parametrize(
        "key",
        [
            "CREATE INDEX ON llm_calls (event_id)",
            "CREATE UNIQUE INDEX ON llm_calls (event_id, user_id)",
            "CREATE UNIQUE INDEX ON llm_calls (event_id) WHERE provider = 'azure'",
            "CREATE UNIQUE INDEX ON llm_calls (lower(event_id))",
            "CREATE UNIQUE INDEX ON llm_calls (ended_at) INCLUDE (event_id)",
            "ALTER TABLE llm_calls ADD UNIQUE (event_id) DEFERRABLE",
        ],
    )
    async def test_no_key(self, database, key):
        """A table in which nothing keeps events from being there twice is refused in words."""
        async with database.opened():
            database.rows("ALTER TABLE llm_calls DROP CONSTRAINT llm_calls_event_id_key")
            database.rows(key)
        with pytest.raises(NotDelivered, match='"llm_calls" has no unique key over event_id'):
            await database.sink().open()

    async def test_key_may_not_be_read(self, database):
        """A role that may insert, but not look for an event's id, is told what it needs."""
        async with database.opened():
            role = writer(database, "INSERT")
        with pytest.raises(Unauthorized, match=r'GRANT SELECT \("event_id"\) ON "llm_calls"'):
            await database.sink(user=role, password="swordfish").open()


def writer(database, rights):
    """
    Make a role that has rights on the table, and may create nothing; gives its name.
    """
    role = f"writer_{os.urandom(3).hex()}"
    database.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'swordfish'; GRANT {rights} ON llm_calls TO {role}")
    database.rows("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    return role


def time_ns(days=0):
    now = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return int((now + timedelta(days=days)).timestamp()) * 10**9


class TestView:
    @pytest.mark.parametrize("partition", ["none", "day"])
    async def test_clean_up(self, database, call, batch_of, partition):
        """Old rows can be deleted from the view `usage_metrics`, as its monitor's users do."""
        async with database.opened(partition=partition, schema="tele metry") as sink:
            await sink.send(batch_of(call(time_ns()), call(time_ns(-3))))
        seen = database.rows('SELECT model, prompt_tokens, status, request_id FROM "tele metry".usage_metrics')
        assert seen == [("gpt-4o-2024-11-20", 1200, "200", "chatcmpl-1")] * 2
        database.rows("""DELETE FROM "tele metry".usage_metrics WHERE timestamp < now() - interval '2 days'""")
        assert database.value('SELECT count(*) FROM "tele metry".llm_calls') == 1

    async def test_name_taken(self, database, call, batch_of):
        """Something else of that name stays as it is."""
        database.rows("CREATE TABLE usage_metrics (model text)")
        async with database.opened() as sink:
            await sink.send(batch_of(call()))
        assert database.rows("SELECT * FROM usage_metrics") == []


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ['x"; DROP TABLE victim; --', "Ünïcödé ☃", "n" * 63, "é" * 31, "select", "%s %(a)s {b}", "a'b\\c", "a.b"],
    )
    async def test_odd(self, database, call, batch_of, name):
        """Any name is only a name."""
        database.rows("CREATE TABLE victim (a text)")
        async with database.opened(table=name, schema=name[:50]) as sink:
            await sink.send(batch_of(call()))
        where = psycopg.sql.Identifier(name[:50], name).as_string()
        assert database.value(f"SELECT count(*) FROM {where}") == 1
        database.rows(f"DELETE FROM {psycopg.sql.Identifier(name[:50], 'usage_metrics').as_string()}")
        assert database.value(f"SELECT count(*) FROM {where}") == 0
        assert database.rows("SELECT * FROM victim") == []


class TestVersions:
    async def test_older_table(self, database, call, batch_of):
        """A table of an older version gets the columns that it lacks, and keeps its rows."""
        async with database.opened() as sink:
            await sink.send(batch_of(call()))
        database.rows("DROP VIEW usage_metrics")
        database.rows("ALTER TABLE llm_calls DROP COLUMN org_id, DROP COLUMN cost_source, DROP COLUMN reasoning_tokens")
        async with database.opened() as sink:
            await sink.send(batch_of(call(otel_llm__org__id="o1")))
        rows = database.rows("SELECT org_id, cost_source FROM llm_calls ORDER BY id")
        assert rows == [(None, None), ("o1", "book")]
        assert database.value("SELECT count(*) FROM usage_metrics") == 2

    async def test_columns_at_the_same_time(self, database, call, batch_of):
        """Eight processes that come at once to a table of an older version bring what it lacks, and their records."""
        async with database.opened():
            database.rows("DROP VIEW usage_metrics; ALTER TABLE llm_calls DROP COLUMN org_id, DROP COLUMN attempts")
        sinks = [database.sink() for _ in range(8)]
        await asyncio.gather(*(sink.open() for sink in sinks))
        await asyncio.gather(*(sink.send(batch_of(call(otel_llm__org__id="o1"))) for sink in sinks))
        await asyncio.gather(*(sink.close() for sink in sinks))
        assert database.rows(
            "SELECT org_id, attempts, count(*) FROM usage_metrics JOIN llm_calls USING (id) GROUP BY 1, 2"
        ) == [("o1", 1, 8)]

    async def test_column_while_somebody_reads(self, database, call, batch_of):
        """Who reads an older table is not waited for, as writers would have to wait, too; it gets its columns later."""
        async with database.opened():
            database.rows("DROP VIEW usage_metrics; ALTER TABLE llm_calls DROP COLUMN org_id")
        with database.server.connect(database.name) as reader:
            reader.execute("BEGIN; SELECT * FROM llm_calls")
            with pytest.raises(NotDelivered, match="answers LockNotAvailable 55P03"):
                await database.sink().open()
        async with database.opened() as sink:
            assert await outcomes(sink, batch_of(call())) == [DELIVERED]

    async def test_older_table_read(self, database, call, batch_of):
        """A report of an older table, which no sink has opened since, shows what is there."""
        async with database.opened() as sink:
            await sink.send(batch_of(call(), call()))
        kept = {"event_id", "recorded_at", "ended_at", "provider", "input_tokens"}
        database.rows("DROP VIEW usage_metrics")
        database.rows(
            f"ALTER TABLE llm_calls {', '.join(f'DROP COLUMN {name}' for name in COLUMNS if name not in kept)}"
        )
        found = [*PostgresStore(database.dsn).calls(Query(provider="openai", success=True))]
        assert [(each.provider, each.input_tokens, each.model, each.cost, each.labels) for each in found] == [
            ("openai", 1200, None, None, {})
        ] * 2
        assert [*PostgresStore(database.dsn).calls(Query(labels={"team": "a"}, key="k", session="s", model="m"))] == []

    async def test_newer_table_read(self, database, call, batch_of):
        """A report of a newer table leaves out what it does not know."""
        async with database.opened() as sink:
            database.rows("ALTER TABLE llm_calls ADD COLUMN energy_kwh numeric DEFAULT 1")
            await sink.send(batch_of(call()))
        (found,) = PostgresStore(database.dsn).calls(Query())
        assert (found.model, found.cost) == ("gpt-4o", Decimal("0.000123"))

    async def test_anothers_table_read(self, database):
        """A report of a table that somebody else has made says so."""
        database.rows("CREATE TABLE llm_calls (id int, model text)")
        with pytest.raises(StoreError, match="is another's: it has no column event_id"):
            next(PostgresStore(database.dsn).calls(Query()))

    async def test_newer_table(self, database, call, batch_of):
        """A version that does not know a table's newest columns writes into it, and changes nothing."""
        async with database.opened():
            database.rows("ALTER TABLE llm_calls ADD COLUMN energy_kwh numeric")
        before = columns(database)
        async with database.opened() as sink:
            assert await outcomes(sink, batch_of(call())) == [DELIVERED]
        assert columns(database) == before
        assert database.rows("SELECT request_model, energy_kwh FROM llm_calls") == [("gpt-4o", None)]

    async def test_table_changed_meanwhile(self, database, call, batch_of):
        """A column that a newer version adds while an older one writes does not disturb that."""
        async with database.opened() as older:
            await older.send(batch_of(call()))
            database.rows("ALTER TABLE llm_calls ADD COLUMN energy_kwh numeric DEFAULT 0")
            assert await outcomes(older, batch_of(call())) == [DELIVERED]
        assert database.value("SELECT count(*) FROM llm_calls") == 2

    async def test_no_right_to_create(self, database, call, batch_of):
        """Where the table is there, the rights to insert and to see events' ids are enough."""
        async with database.opened():
            role = writer(database, "INSERT, SELECT (event_id)")
        async with database.opened(user=role, password="swordfish") as sink:
            await sink.send(batch_of(call()))
        assert database.value("SELECT count(*) FROM llm_calls") == 1

    async def test_dropped_table(self, database, call, batch_of):
        """Where somebody drops the table, the sink makes it again when it is opened again."""
        async with database.opened() as sink:
            database.rows("DROP TABLE llm_calls CASCADE")
            with pytest.raises(NotDelivered, match="UndefinedTable"):
                await sink.send(batch_of(call()))
            await sink.open()
            await sink.send(batch_of(call()))
        assert database.value("SELECT count(*) FROM usage_metrics") == 1


def columns(database):
    return database.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_name IN ('llm_calls', 'usage_metrics') ORDER BY table_name, ordinal_position"
    )


def log_batch(*events):
    return Batch([Record(event, gateway_log.encode(event)) for event in events])


class TestGatewayLog:
    async def test_documents(self, database, call):
        """With `format: gateway_log` the document is kept whole, with its times; what nobody told is NULL."""
        plain, streamed = call(), call(otel_llm__time_to_first_byte=0.25)
        async with database.opened("gateway_log") as sink:
            await sink.send(log_batch(plain, streamed))
        rows = database.rows("SELECT event_id, timestamp, log_data->>'name', ttfb, latency FROM llm_logs ORDER BY id")
        at = datetime(2026, 1, 12, 12, 0, 0, 123456, UTC)
        name = "ai_gateway_request_log"
        assert rows == [(plain.id, at, name, None, 813), (streamed.id, at, name, 250, 813)]

    async def test_table_of_the_gateway(self, database, call):
        """A table that the gateway's own exporter made is gone on with."""
        database.rows(
            "CREATE TABLE request_logs (id SERIAL PRIMARY KEY, timestamp TIMESTAMPTZ NOT NULL, "
            "log_data JSONB NOT NULL, ttfb INTEGER, latency INTEGER); "
            "INSERT INTO request_logs (timestamp, log_data) VALUES (now(), '{}')"
        )
        event = call()
        async with database.opened("gateway_log", table="request_logs") as sink:
            await sink.send(log_batch(event))
            await sink.send(log_batch(event))
        assert database.rows("SELECT event_id, latency FROM request_logs ORDER BY id") == [
            (None, None),
            (event.id, 813),
        ]

    async def test_partitioned_table_of_the_gateway(self, database, call):
        """A table that somebody has parted by its time gets a unique key that has the time in it."""
        database.rows(
            "CREATE TABLE llm_logs (id serial, timestamp timestamptz, log_data jsonb) PARTITION BY RANGE (timestamp); "
            "CREATE TABLE llm_logs_all PARTITION OF llm_logs DEFAULT"
        )
        event = call()
        async with database.opened("gateway_log") as sink:
            await sink.send(log_batch(event))
            await sink.send(log_batch(event))
        assert database.rows("SELECT event_id FROM llm_logs") == [(event.id,)]


class TestPartitions:
    async def test_days(self, database, call, batch_of):
        """Each day of now has its partition; days far from now share one."""
        events = [call(time_ns(day)) for day in (-2, 0, 0, -4000, 4000)]
        async with database.opened(partition="day") as sink:
            await sink.send(batch_of(*events))
        found = dict(database.rows("SELECT tableoid::regclass::text, count(*) FROM llm_calls GROUP BY 1"))
        assert found == {partition(-2): 1, partition(0): 2, "llm_calls_default": 2}

    async def test_retention(self, database, call, batch_of):
        """Partitions that are too old are dropped, and what is too old in the default one is deleted."""
        async with database.opened(partition="day") as sink:
            await sink.send(batch_of(*[call(time_ns(day)) for day in (0, -5, -20, -4000)]))
        async with database.opened(partition="day", retention_days=7) as sink:
            await sink.send(batch_of(call(time_ns())))
        found = dict(database.rows("SELECT tableoid::regclass::text, count(*) FROM llm_calls GROUP BY 1"))
        assert found == {partition(0): 2, partition(-5): 1}
        assert database.value("SELECT to_regclass(%s)", partition(-20)) is None

    async def test_day_in_the_default(self, database, call, batch_of):
        """A day whose first records came into the default partition stays there."""
        async with database.opened(partition="day") as sink:
            database.rows("ALTER TABLE llm_calls DETACH PARTITION llm_calls_default")
            database.rows(
                "INSERT INTO llm_calls_default (id, event_id, recorded_at, ended_at, event) "
                "VALUES (0, 'e', now(), now(), '{}')"
            )
            database.rows("ALTER TABLE llm_calls ATTACH PARTITION llm_calls_default DEFAULT")
            await sink.send(batch_of(call(time_ns())))
        assert database.value("SELECT count(*) FROM llm_calls_default") == 2

    async def test_somebody_reads(self, database, call, batch_of):
        """Who reads what is to be dropped is not waited for."""
        async with database.opened(partition="day") as sink:
            await sink.send(batch_of(call(time_ns(-20))))
        async with database.opened(partition="day", retention_days=7) as sink:
            with database.server.connect(database.name) as reader:
                reader.execute("BEGIN; SELECT * FROM llm_calls")
                await sink.send(batch_of(call(time_ns(-20))))
        assert database.value("SELECT count(*) FROM llm_calls") == 2

    async def test_somebody_reads_the_default(self, database, call, batch_of):
        """Who reads the default partition, which would have to make room for a day, is not waited for."""
        async with database.opened(partition="day") as sink:
            await sink.send(batch_of(call(time_ns())))
            with database.server.connect(database.name) as reader:
                reader.execute("BEGIN; SELECT * FROM llm_calls_default")
                assert await outcomes(sink, batch_of(call(time_ns(-1)))) == [DELIVERED]
            await sink.send(batch_of(call(time_ns(-2))))
        found = dict(database.rows("SELECT tableoid::regclass::text, count(*) FROM llm_calls GROUP BY 1"))
        assert found == {partition(0): 1, "llm_calls_default": 1, partition(-2): 1}

    async def test_tomorrow(self, database, call, batch_of):
        """Tomorrow's partition is there before the day is, so that nobody waits for it at midnight."""
        async with database.opened(partition="day") as sink:
            await sink.send(batch_of(call(time_ns())))
        assert database.value("SELECT to_regclass(%s)", partition(1)) == partition(1)

    async def test_partitions_of_the_operator(self, database, call, batch_of):
        """Records go to the partitions that somebody has made in another way."""
        bounds = f"FROM ('{datetime.now(UTC) - timedelta(3):%F}') TO ('{datetime.now(UTC) + timedelta(3):%F}')"
        async with database.opened(partition="day") as sink:
            database.rows(f"CREATE TABLE week PARTITION OF llm_calls FOR VALUES {bounds}")
            assert await outcomes(sink, batch_of(call(time_ns()))) == [DELIVERED]
        assert database.value("SELECT count(*) FROM week") == 1

    async def test_no_right_to_create(self, database, call, batch_of, capsys):
        """For a role that may only insert, the default partition takes what has no other, and that is said once."""
        async with database.opened(partition="day") as sink:
            await sink.send(batch_of(call(time_ns(-20)), call(time_ns(-1))))
            role = writer(database, "INSERT, SELECT (event_id, ended_at)")
        async with database.opened(partition="day", retention_days=7, user=role, password="swordfish") as sink:
            for day in (-1, -3, -4):
                assert await outcomes(sink, batch_of(call(time_ns(day)))) == [DELIVERED]
        found = dict(database.rows("SELECT tableoid::regclass::text, count(*) FROM llm_calls GROUP BY 1"))
        assert found == {partition(-20): 1, partition(-1): 2, "llm_calls_default": 2}
        assert capsys.readouterr().err.count("may not make or drop partitions") == 1

    async def test_not_partitioned(self, database):
        """A table that is there in one piece is not mistaken for one of partitions."""
        async with database.opened():
            pass
        with pytest.raises(NotDelivered, match="is there, and has no partitions"):
            await database.sink(partition="day").open()

    @pytest.mark.parametrize("there", [False, True])
    async def test_no_timescaledb(self, database, there):
        """Without TimescaleDB a hypertable is refused in words, also where a table is there."""
        if there:
            async with database.opened():
                pass
        with pytest.raises(NotDelivered, match="the database has no extension timescaledb"):
            await database.sink(partition="hypertable", retention_days=7).open()

    async def test_no_hypertable(self, database):
        """A table that TimescaleDB does not list is not mistaken for a hypertable; one that it lists is taken."""
        database.rows(
            "CREATE SCHEMA timescaledb_information; CREATE TABLE timescaledb_information.hypertables "
            "AS SELECT name AS hypertable_schema, name AS hypertable_name FROM unnest(ARRAY['public', 'llm']) name"
        )
        async with database.opened():
            pass
        with pytest.raises(NotDelivered, match="is there, and is no hypertable: partition: none takes it"):
            await database.sink(partition="hypertable", retention_days=7).open()
        async with database.opened(schema="llm", table="llm"):
            pass
        async with database.opened(schema="llm", table="llm", partition="hypertable"):
            pass


def partition(days):
    return f"llm_calls_{datetime.now(UTC) + timedelta(days=days):%Y%m%d}"


class TestConnection:
    @pytest.mark.parametrize("role", ["nobody", "somebody"])
    async def test_refused(self, database, role):
        """A role or a password that the server does not know is said to be refused; the password is not shown."""
        sink = database.sink(user=role, password="swordfish")
        with pytest.raises(Unauthorized) as caught:
            await sink.open()
        assert "password authentication failed" in str(caught.value)
        assert "swordfish" not in str(caught.value)

    async def test_pool(self, database, call, batch_of):
        """There are no more connections than asked for, however many batches are on their way."""
        async with database.opened(pool_size=2) as sink:
            await asyncio.gather(*(sink.send(batch_of(call())) for _ in range(10)))
            assert database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database.name) <= 3
        assert database.value("SELECT count(*) FROM llm_calls") == 10

    async def test_cut(self, database, call, batch_of):
        """A connection that the server ended is told of, and opened again."""
        async with database.opened() as sink:
            database.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s",
                database.name,
            )
            with pytest.raises(NotDelivered):
                await sink.send(batch_of(call()))
            await sink.open()
            await sink.send(batch_of(call()))
        assert database.value("SELECT count(*) FROM llm_calls") == 1


@pytest.mark.skipif(not TIMESCALEDB, reason="TimescaleDB is not installed")
class TestHypertable:
    @pytest.fixture
    def timescale(self, servers):
        """
        Give an empty database with TimescaleDB.
        """
        server = servers.start("postgres", shared_preload_libraries="timescaledb")
        database = Database(server, "tests")
        database.rows("CREATE EXTENSION timescaledb")
        yield database
        server.stop()

    async def test_retention(self, timescale, call, batch_of):
        """Calls are there once, in a chunk for each day; chunks that are too old are dropped."""
        batch = batch_of(*[call(time_ns(day)) for day in (0, -1, -20)])
        async with timescale.opened(partition="hypertable") as sink:
            await sink.send(batch)
            await sink.send(batch)
        assert timescale.value("SELECT count(*) FROM llm_calls") == 3
        assert timescale.value("SELECT count(*) FROM show_chunks('llm_calls')") == 3
        async with timescale.opened(partition="hypertable", retention_days=7) as sink:
            await sink.send(batch_of(call(time_ns())))
        assert timescale.value("SELECT count(*) FROM llm_calls") == 3

    async def test_plain_table(self, timescale):
        """A table that is there in one piece is not mistaken for a hypertable."""
        async with timescale.opened():
            pass
        with pytest.raises(NotDelivered, match="is there, and is no hypertable"):
            await timescale.sink(partition="hypertable", retention_days=7).open()


def handed(server, file):
    """
    Copy a file to where the server may read it; gives the copy.
    """
    copy = server.folder / "data" / file.name
    shutil.copyfile(file, copy)
    copy.chmod(0o600)
    if server.owner:
        shutil.chown(copy, server.owner)
    return copy


class TestTls:
    @pytest.fixture
    def issued(self, tmp_path):
        """
        Give certificates.
        """
        return certificates.issue(tmp_path)

    @pytest.fixture
    def secured(self, servers):
        """
        Give a function that starts a server with a certificate, and makes a sink for it.
        """
        running = []

        def make(certificate, **options):
            server = servers.start("postgres")
            running.append(server)
            pem = handed(server, certificate)
            for name, value in {"ssl_cert_file": pem, "ssl_key_file": pem, "ssl": "on"}.items():
                server.rows(f"ALTER SYSTEM SET {name} = '{value}'")
            server.rows("SELECT pg_reload_conf()")
            server.restart()
            settings = SinkSettings("postgres", "postgres", {"dsn": server.dsn, **options})
            return server, plugins.make_sink(settings)

        yield make
        for server in running:
            server.stop()

    async def test_verified(self, secured, issued):
        """With `verify-full` and the right authority, records travel by TLS."""
        server, sink = secured(issued.server, sslmode="verify-full", sslrootcert=str(issued.authority))
        await sink.open()
        used = server.rows(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE query LIKE '%usage_metrics%'"
        )
        await sink.close()
        assert used == [(True,)]

    async def test_client_certificate(self, secured, issued):
        """A role that has to show a certificate comes in with it, and is refused without."""
        server, _ = secured(issued.server)
        server.rows("CREATE ROLE shop LOGIN; CREATE SCHEMA shop AUTHORIZATION shop")
        server.rows(f"ALTER SYSTEM SET ssl_ca_file = '{handed(server, issued.authority)}'")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"hostssl all shop 127.0.0.1/32 cert\n{rules.read_text()}")
        server.restart()
        issued.client.chmod(0o600)
        pem = str(issued.client)
        options = {"dsn": server.dsn, "user": "shop", "sslmode": "verify-full", "sslrootcert": str(issued.authority)}
        sink = plugins.make_sink(SinkSettings("postgres", "postgres", {**options, "sslcert": pem, "sslkey": pem}))
        await sink.open()
        await sink.close()
        assert server.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'llm_calls'") == [("shop",)]
        with pytest.raises(Unauthorized, match="requires a valid client certificate"):
            await plugins.make_sink(SinkSettings("postgres", "postgres", options)).open()

    @pytest.mark.parametrize(
        ("certificate", "mode", "trusted", "words"),
        [
            ("elsewhere", "verify-full", True, "does not match host name"),
            ("server", "verify-ca", False, "certificate verify failed"),
        ],
    )
    async def test_impostor(self, secured, issued, tmp_path, certificate, mode, trusted, words):
        """A server with a certificate for another host, or by an unknown authority, gets nothing."""
        other = tmp_path / "other"
        other.mkdir()
        authority = issued.authority if trusted else certificates.issue(other).authority
        _, sink = secured(getattr(issued, certificate), sslmode=mode, sslrootcert=str(authority))
        with pytest.raises(NotDelivered, match=words):
            await sink.open()


async def test_query_of_the_page(database, call, batch_of):
    """The query that is shown gives the calls of a week by day and model."""
    (query,) = re.findall(r"```sql\n(.*?)```", postgres.__doc__, re.DOTALL)
    async with database.opened() as sink:
        await sink.send(batch_of(call(time_ns(-1)), call(time_ns(-1)), call(time_ns(-9))))
    ((_, model, calls, tokens, cost, p95),) = database.rows(query)
    assert (model, calls, tokens, cost, p95) == ("gpt-4o-2024-11-20", 2, 2512, Decimal("0.000246"), 813)


async def test_indexes_of_the_page(database):
    """A new table has an index on each column that is told, beside its keys."""
    told = re.search(r"all writing: on (.*?)\.", postgres.__doc__, re.DOTALL)[1]
    async with database.opened():
        found = database.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'llm_calls'")
    indexes = [each for (each,) in found if not each.startswith("CREATE UNIQUE")]
    assert sorted(re.findall(r"\((\w+)\)", "".join(indexes))) == sorted(re.findall(r"`(\w+)`", told))


async def test_columns_of_both_stores(database):
    """The table has the columns that SQLite's has."""
    async with database.opened():
        found = [name for table, name, _ in columns(database) if table == "llm_calls"]
    assert found == ["id", *COLUMNS, "event"]
