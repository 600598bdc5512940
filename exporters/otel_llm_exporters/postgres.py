"""
PostgreSQL: one row per call in a table that `otel-llm report` and your own queries read.

The table `llm_calls` is made where it is missing, and gets the columns that it lacks, by the first process that comes;
no column is ever dropped. Beside it, the view `usage_metrics` has the columns of an older monitor; a `DELETE` from the
view deletes the calls.

A batch is copied straight into the table. Where one of its events is there already (the server's log tells of a
violated key), or where a column of the table has another type or its rows are guarded by policies, the batch goes by
way of a temporary table, and what is there already stays as it is: each event is there once, however often it was sent.
The table is looked at when a process opens it: stop those that write before you change a column's type or drop a key.

With `format: gateway_log` (or `analytics`, `usage`) the table is `llm_logs`: `id`, `event_id`, `timestamp` (when the
call was completed), `log_data`, and `ttfb` and `latency` in milliseconds.

| PostgreSQL answers | the records |
| --- | --- |
| a value that its column does not take, a constraint, a limit | go to the dead letters, those alone |
| a deadlock, a lock or a time limit | are sent again |
| the role or its password refused, no right to the table | wait, and are tried again at long intervals |
| standby, read only, starting, shutting down, disk full, no answer | are sent again over a new connection |

An event is known again by the table's unique key over `event_id`, or over `event_id` and the time by which the table is
parted; a table without such a key is refused. A row that clashes with another key, such as one of yours, is a dead
letter. So is one whose `id` is taken, as happens where rows were copied in with their ids:
`SELECT setval(pg_get_serial_sequence('llm_calls', 'id'), max(id)) FROM llm_calls` lets the sequence catch up.

The role needs

- to make everything itself: `CONNECT` and `TEMPORARY` on the database, `USAGE` and `CREATE` on the schema, and for a
  `schema` that is missing `CREATE` on the database;
- where the table is there, with all its columns and its view: `CONNECT`, `TEMPORARY`, `USAGE`, and
  `GRANT INSERT, SELECT (event_id) ON llm_calls`, with partitions `SELECT (event_id, ended_at)`. Only the table's owner
  may make and drop partitions, so that records go to those that are there, and nothing is dropped.

`partition` shapes a new table; one that is there stays as it is, and has to be of that shape, or `partition` has to be
`none`, which takes all. Indexes, too, come with a new table only, since making one holds up all writing: on `ended_at`,
`response_model`, `provider`, `key_hash`, `response_id` and `trace_id`. What an older table lacks of them is made by
hand, with `CREATE INDEX CONCURRENTLY`, where it has partitions on each of those.

- `partition: day` makes a partition for each day (UTC), a day ahead, and drops those that are older than
  `retention_days`. Records of days that are far from now (after tomorrow, more than 35 days back, more than
  `retention_days` back) go to the partition `llm_calls_default`; so do those of a day whose partition could not be made
  since somebody was reading that one.
- `partition: hypertable` makes the table a hypertable of TimescaleDB with a chunk for each day, and drops the chunks
  that are older than `retention_days`. TimescaleDB comes first: `shared_preload_libraries = 'timescaledb'` in
  `postgresql.conf`, a restart, and in the database, by a superuser, `CREATE EXTENSION timescaledb`. These steps and the
  statements are those of its documentation; they are tested only where it is installed.

`otel-llm report --from-postgres postgresql://llm@db.example.com/telemetry` sums the calls up; so do queries of yours:

```sql
SELECT date_trunc('day', ended_at) AS day, response_model, count(*) AS calls,
       sum(total_tokens) AS tokens, sum(cost_usd) AS usd,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95_ms
FROM llm_calls
WHERE ended_at >= now() - interval '7 days' AND labels->>'tenant_id' = 't1'
GROUP BY 1, 2 ORDER BY usd DESC NULLS LAST;
```
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from otel_llm.delivery.sink import DELIVERED, Batch, Outcome, Receipt, Record, Rejected
from otel_llm.settings.secret import Secret
from otel_llm_exporters.postgres_errors import failure, is_about_the_records, receipt_for
from otel_llm_exporters.postgres_options import PostgresOptions
from otel_llm_exporters.postgres_partitions import Partitions
from otel_llm_exporters.postgres_table import Connection, Table

_UNFIT: Final = (OverflowError, TypeError, ValueError)
"""What making a row raises over a value that will be no better next time."""


class PostgresSink:
    """
    Writes each batch in one transaction; an event that is there already stays as it is.
    """

    Options: ClassVar[type[PostgresOptions]] = PostgresOptions

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._table = Table(options)
        self._partitions = Partitions(self._table, options)
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(options.pool_size)
        told = conninfo_to_dict(options.dsn.reveal(), **options.arguments())
        self._host = str(told.get("host") or told.get("hostaddr") or "the local socket")
        self._password = Secret(str(told.get("password") or ""))
        """Kept so that it is taken out of what operators see, also where it came in the connection string."""

    async def open(self) -> None:
        await self.close()
        self._partitions.forget()
        try:
            async with self._connection() as connection:
                await self._table.prepare(connection)
        except psycopg.Error as error:
            raise failure(error, self._host) from error

    async def send(self, batch: Batch) -> Receipt:
        try:
            async with self._connection() as connection:
                await self._partitions.make_room(connection, batch.records)
                return await self._write(connection, batch.records)
        except psycopg.Error as error:
            return receipt_for(error, self._host)

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _write(self, connection: Connection, records: Sequence[Record]) -> Receipt:
        if self._table.straight:
            try:
                return Receipt(await self._copy(connection, self._table.straight, records))
            except psycopg.Error as error:
                if not is_about_the_records(error):
                    return receipt_for(error, self._host)
        return await self._insert_what_is_new(connection, records)

    async def _insert_what_is_new(self, connection: Connection, records: Sequence[Record]) -> Receipt:
        """
        Copy into a table that only this connection sees, and leave out what is there already.
        """
        try:
            await connection.execute(self._table.begin)
            outcomes = await self._copy(connection, self._table.copy, records)
            await connection.execute(self._table.commit)
        except psycopg.Error as error:
            receipt = receipt_for(error, self._host)
            await connection.rollback()
            return receipt
        return Receipt(outcomes)

    async def _copy(self, connection: Connection, statement: str, records: Sequence[Record]) -> list[Outcome]:
        """
        Send the rows, each made while the server is at work on those before.
        """
        rows, outcomes = self._table.rows, list[Outcome]()
        async with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(rows.wire_types)
            for record in records:
                try:
                    row = rows.row(record)
                except _UNFIT as error:
                    outcomes.append(Rejected(f"PostgreSQL cannot take it: {error}"))
                else:
                    await copy.write_row(row)
                    outcomes.append(DELIVERED)
        return outcomes

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._free:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            except BaseException:
                await connection.close()
                raise
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        # No prepared statements: a pooler such as PgBouncer may give each transaction another server process.
        return await AsyncConnection.connect(
            self._options.dsn.reveal(), autocommit=True, prepare_threshold=None, **self._options.arguments()
        )
