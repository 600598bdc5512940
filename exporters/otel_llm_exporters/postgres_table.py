"""
The table that the sink `postgres` writes, and what it takes to make it.

What is lacking is found by looking, not by a version number: a table of an older version gets the columns it lacks, one
of a newer version keeps those that this one does not know. Who changes something does it under an advisory lock.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, sql

from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.formats.facts import Facts, milliseconds
from otel_llm.telemetry.event import Event
from otel_llm.usage.schema import COLUMNS, DERIVED, INDEXED, USAGE_METRICS, Columns, Kind, derived
from otel_llm_exporters.postgres_options import PostgresOptions
from otel_llm_exporters.postgres_rows import Derive, Rows

Connection = AsyncConnection[Any]

VIEW: Final = "usage_metrics"

_TYPES: Final[dict[Kind, str]] = {
    "text": "text",
    "integer": "bigint",
    "real": "numeric(20,10)",
    "time": "timestamp with time zone",
    "json": "jsonb",
    "boolean": "boolean",
}
"""As the server names them."""
_FROM_US: Final = "FROM STDIN (FORMAT BINARY)"
_KEYS: Final = """
SELECT array_agg(attname::text), bool_and(has_column_privilege(indrelid, attnum, 'SELECT'))
FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])
WHERE indrelid = to_regclass(%s) AND indisunique AND indisvalid AND indimmediate AND num_nulls(indpred, indexprs) = 2
GROUP BY indexrelid HAVING bool_or(attname = 'event_id') AND bool_and(attname = ANY (%s))
ORDER BY count(*) LIMIT 1
"""
"""The unique keys that hold the event's id and no columns but those given, the shortest first."""
_HYPERTABLE: Final = """
SELECT 1 FROM timescaledb_information.hypertables
WHERE to_regclass(format('%%I.%%I', hypertable_schema, hypertable_name)) = to_regclass(%s)
"""
_PLAIN: Final = """
SELECT relkind IN ('r', 'p') AND NOT relhasrules AND NOT relrowsecurity AND %s <@ array(
    SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = pg_class.oid
)
FROM pg_class WHERE oid = to_regclass(%s)
"""
"""Whether COPY may write a table, and its columns have the types given."""
_PATIENCE: Final = "SET LOCAL lock_timeout = '2s'"
"""Who waits for a lock holds up all inserts behind it."""
_NEVER_NULL: Final = frozenset({"event_id", "recorded_at", "ended_at", "timestamp"})


@dataclass(frozen=True, slots=True)
class Shape:
    """
    What a table holds.
    """

    columns: Columns
    derived: Sequence[str]
    derive: Derive
    """Works out those of the columns, in their order."""
    body: str
    """The column of the record as it was encoded."""
    time: str
    """The column of the time by which the table is parted."""
    when_ns: Callable[[Event], int]
    """Gives that time, in Unix nanoseconds."""
    indexed: tuple[str, ...]


CALLS: Final = Shape(
    columns=COLUMNS,
    derived=DERIVED,
    derive=derived,
    body="event",
    time="ended_at",
    when_ns=lambda event: event.timestamp_ns,
    indexed=(*INDEXED, "trace_id"),
)


def _log(event: Event) -> tuple[Any, ...]:
    facts = Facts(event)
    first_byte = facts.seconds("otel_llm.time_to_first_byte", "gen_ai.response.time_to_first_chunk")
    return event.id, facts.ended_ns, milliseconds(first_byte), milliseconds(facts.duration)


_LOG: Final[Columns] = {
    "event_id": ("text", None),
    "timestamp": ("time", None),
    "ttfb": ("integer", None),
    "latency": ("integer", None),
}
LOGS: Final = Shape(
    columns=_LOG,
    derived=tuple(_LOG),
    derive=_log,
    body="log_data",
    time="timestamp",
    when_ns=lambda event: Facts(event).ended_ns,
    indexed=("timestamp",),
)
"""The table of the MagicAPI gateway's own exporter, with an `event_id`."""


class Table:
    """
    One table and its statements.
    """

    def __init__(self, options: PostgresOptions) -> None:
        self.shape = CALLS if options.format == "otel" else LOGS
        self.rows = Rows(self.shape.columns, self.shape.derived, self.shape.derive, self.shape.body)
        self.name = _named(options.schema, options.table_name)
        self._options = options
        self._view = _named(options.schema, VIEW)
        self.straight = ""
        """Copies into the table itself, where that is as we make it; known when the table has been looked at."""
        self._names = names = ", ".join(map(quoted, self.rows.names))
        transit = f"otel_llm_{self.shape.body}_{len(self.rows.names)}"
        # Asked for each time: behind a pooler such as PgBouncer, another transaction may meet another server process.
        self.begin = f"BEGIN; CREATE TEMPORARY TABLE IF NOT EXISTS {transit} ({self._transit()}) ON COMMIT DELETE ROWS"
        self.copy = f"COPY pg_temp.{transit} ({names}) {_FROM_US}"
        self._insert = f"INSERT INTO {self.name} ({names}) SELECT {names} FROM pg_temp.{transit}"  # noqa: S608 - quoted
        self.commit = ""
        """Inserts what was copied; known when the table has been looked at."""

    def partition(self, suffix: str) -> str:
        """
        Give the name of one of its partitions.
        """
        return _named(self._options.schema, f"{self._options.table_name}_{suffix}")

    async def prepare(self, connection: Connection) -> None:
        """
        Make the table, or what it lacks; raises `NotDelivered` where it is somebody else's.
        """
        if await self._lacking(connection):
            async with self.alone(connection):
                for statement in await self._lacking(connection):
                    await connection.execute(statement)
        self.straight = f"COPY {self.name} ({self._names}) {_FROM_US}" if await self._is_plain(connection) else ""
        # With a target, so that what clashes with any other key is told instead of passed over.
        self.commit = f"{self._insert} ON CONFLICT ({await self._find_key(connection)}) DO NOTHING; COMMIT"

    @asynccontextmanager
    async def alone(self, connection: Connection) -> AsyncIterator[None]:
        """
        Open a transaction in which no other process of ours changes the table, and no reader is waited for long.
        """
        async with connection.transaction():
            # Locked by schema: several tables share one view.
            key = f"otel-llm {self._options.schema or ''}"
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
            await connection.execute(_PATIENCE)
            yield

    async def _lacking(self, connection: Connection) -> list[str]:
        if self._options.partition == "hypertable":
            await self._check_extension(connection)
        found = await one(connection, "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", self.name)
        view = [] if await self._has_view(connection) else self._view_statements()
        if found is None:
            return [*self._schema_statements(), *self._table_statements(), *self._layout_statements(), *view]
        cursor = await connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (self.name,),
        )
        there = {name for (name,) in await cursor.fetchall()}
        self._check_columns(there)
        await self._check_layout(connection, parted=found[0])
        return [*self._missing_columns(there), *self._missing_key(there, parted=found[0]), *view]

    async def _has_view(self, connection: Connection) -> bool:
        """
        Whether something of the view's name is there, be it somebody else's; only a table of calls has one.
        """
        return self.shape is not CALLS or await one(connection, "SELECT to_regclass(%s)", self._view) != (None,)

    def _check_columns(self, there: set[str]) -> None:
        for name in (self.shape.body, self.shape.time):
            if name not in there:
                raise NotDelivered(f"the table {self.name} is another's: it has no column {name}")

    async def _check_layout(self, connection: Connection, *, parted: bool) -> None:
        match self._options.partition:
            case "day" if not parted:
                lacks = "has no partitions"
            case "hypertable" if await one(connection, _HYPERTABLE, self.name) is None:
                lacks = "is no hypertable"
            case _:
                return
        raise NotDelivered(f"the table {self.name} is there, and {lacks}: partition: none takes it")

    async def _find_key(self, connection: Connection) -> str:
        """
        Give the columns of the unique key by which an event is known again; raises `NotDelivered` where there is none.
        """
        time = self.shape.time
        found = await one(connection, _KEYS, self.name, ["event_id", time])
        if found is None:
            either = f"over event_id, or over event_id and {time}"
            raise NotDelivered(f"the table {self.name} has no unique key {either}: CREATE UNIQUE INDEX makes one")
        names, readable = found
        key = ", ".join(map(quoted, names))
        if not readable:
            raise Unauthorized(f"the role may not look for events: GRANT SELECT ({key}) ON {self.name} lets it")
        return key

    async def _is_plain(self, connection: Connection) -> bool:
        """
        Whether the binary rows of a COPY mean in this table what they mean in one of ours.
        """
        columns = [f"{name} {kind}" for name, kind in self._columns().items()]
        return await one(connection, _PLAIN, columns, self.name) == (True,)

    async def _check_extension(self, connection: Connection) -> None:
        if await one(connection, "SELECT to_regclass('timescaledb_information.hypertables')") == (None,):
            raise NotDelivered("the database has no extension timescaledb: CREATE EXTENSION timescaledb makes it")

    def _schema_statements(self) -> Iterator[str]:
        if self._options.schema:
            yield f"CREATE SCHEMA IF NOT EXISTS {quoted(self._options.schema)}"

    def _table_statements(self) -> Iterator[str]:
        time = quoted(self.shape.time)
        key = self._time_in_key(parted=False)
        lines = [
            "id bigint GENERATED BY DEFAULT AS IDENTITY",
            *(f"{quoted(name)} {_TYPES[kind]}{_rule(name)}" for name, (kind, _) in self.shape.columns.items()),
            f"{self.shape.body} jsonb NOT NULL",
            f"PRIMARY KEY (id{key})",
            f"UNIQUE (event_id{key})",
        ]
        by = f" PARTITION BY RANGE ({time})" if self._options.partition == "day" else ""
        yield f"CREATE TABLE {self.name} ({', '.join(lines)}){by}"
        for name in self.shape.indexed:
            yield f"CREATE INDEX ON {self.name} ({quoted(name)})"

    def _layout_statements(self) -> Iterator[str]:
        if self._options.partition == "day":
            yield f"CREATE TABLE {self.partition('default')} PARTITION OF {self.name} DEFAULT"
        if self._options.partition == "hypertable":
            day = "chunk_time_interval => interval '1 day'"
            yield f"SELECT create_hypertable({literal(self.name)}, {literal(self.shape.time)}, {day})"

    def _missing_columns(self, there: set[str]) -> Iterator[str]:
        for name, (kind, _) in self.shape.columns.items():
            if name not in there:
                yield f"ALTER TABLE {self.name} ADD COLUMN {quoted(name)} {_TYPES[kind]}"

    def _missing_key(self, there: set[str], *, parted: bool) -> Iterator[str]:
        if "event_id" not in there:
            yield f"ALTER TABLE {self.name} ADD UNIQUE (event_id{self._time_in_key(parted=parted)})"

    def _time_in_key(self, *, parted: bool) -> str:
        """
        Give what every key of a table has to hold that is parted by time.
        """
        return f", {quoted(self.shape.time)}" if parted or self._options.partition != "none" else ""

    def _view_statements(self) -> list[str]:
        function = _named(self._options.schema, f"{VIEW}_delete")
        body = f"BEGIN DELETE FROM {self.name} WHERE id = OLD.id AND ended_at = OLD.timestamp; RETURN OLD; END"  # noqa: S608
        written, called = f"LANGUAGE plpgsql AS {literal(body)}", f"EXECUTE FUNCTION {function}()"
        return [
            f"CREATE VIEW {self._view} AS {USAGE_METRICS} FROM {self.name}",
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger SET search_path FROM CURRENT {written}",
            f"CREATE TRIGGER {VIEW}_delete INSTEAD OF DELETE ON {self._view} FOR EACH ROW {called}",
        ]

    def _transit(self) -> str:
        return ", ".join(f"{quoted(name)} {kind}" for name, kind in self._columns().items())

    def _columns(self) -> dict[str, str]:
        kinds = {name: kind for name, (kind, _) in self.shape.columns.items()} | {self.shape.body: "json"}
        return {name: _TYPES[kind] for name, kind in kinds.items()}


async def one(connection: Connection, statement: str, *values: object) -> tuple[Any, ...] | None:
    """
    Give the first row of an answer.
    """
    return await (await connection.execute(statement, values)).fetchone()


def quoted(name: str) -> str:
    """
    Give a name as SQL has it, whatever it holds.
    """
    return sql.Identifier(name).as_string()


def literal(text: str) -> str:
    """
    Give a text as SQL has it, whatever it holds.
    """
    return sql.Literal(text).as_string()


def _named(schema: str | None, name: str) -> str:
    return sql.Identifier(*filter(None, (schema, name))).as_string()


def _rule(name: str) -> str:
    return " NOT NULL" if name in _NEVER_NULL else ""
