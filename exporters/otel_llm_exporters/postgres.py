"""
PostgreSQL: one row per call in a table that `otel-llm report` and your own queries read.

The table `llm_calls` is made where it is missing, and gets the columns that it lacks, by whoever comes first; nothing
is ever dropped from it. The view `usage_metrics` beside it has the columns of an older monitor, and can be deleted
from. A batch is copied into a temporary table and inserted from there; what has come before is left as it is, so that
each event is there once, however often it was sent.

With `format: gateway_log` (or `analytics`, `usage`) the table is `llm_logs`: `id`, `event_id`, `timestamp` (when the
call was completed), `log_data`, and `ttfb` and `latency` in milliseconds.

The role needs the right to connect, to make temporary tables, to insert, and to see the columns by which an event is
known again (`GRANT INSERT, SELECT (event_id) ON llm_calls`); the first time also to create in the schema, unless
somebody else has made the table: `otel-llm` makes nothing that is there.

| PostgreSQL answers | the records |
| --- | --- |
| a value that its column does not take, a constraint, a limit | go to the dead letters, those alone |
| a deadlock, a lock or a time limit | are sent again |
| the role or its password refused, no right to the table | wait, and are tried again at long intervals |
| standby, read only, starting, shutting down, disk full, no answer | are sent again over a new connection |

`partition: day` makes a partition for each day (UTC) and drops those that are older than `retention_days`; records of
days that are far from now share a default partition. `partition: hypertable` asks TimescaleDB for the same; its
statements are those of its documentation, and are not tested here.
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
from otel_llm_exporters.postgres_errors import failure, receipt_for
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
        try:
            await connection.execute(self._table.begin)
            outcomes = await self._copy(connection, records)
            await connection.execute(self._table.commit)
        except psycopg.Error as error:
            receipt = receipt_for(error, self._host)
            await connection.rollback()
            return receipt
        return Receipt(outcomes)

    async def _copy(self, connection: Connection, records: Sequence[Record]) -> list[Outcome]:
        """
        Send the rows, each made while the server is at work on those before.
        """
        rows, outcomes = self._table.rows, list[Outcome]()
        async with connection.cursor() as cursor, cursor.copy(self._table.copy) as copy:
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
