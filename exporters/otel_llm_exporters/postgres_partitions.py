"""
A partition for each day, made before the first record of that day comes, and dropped when its days are over.

Records of days far from now share the default partition: a clock that is wrong must not make partitions for ever. It
also takes the records of a day whose partition cannot be made: no record waits for one.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Final

from psycopg.errors import CheckViolation, InsufficientPrivilege, InvalidObjectDefinition, LockNotAvailable

from otel_llm.delivery.sink import Record
from otel_llm.diagnostics import warn_once
from otel_llm_exporters.postgres_options import PostgresOptions
from otel_llm_exporters.postgres_table import Connection, Table, literal, quoted

_MOST_DAYS_BACK: Final = 35
_EACH: Final = timedelta(hours=1)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_NS_A_DAY: Final = 86_400 * 10**9
_FIRST_DAY: Final = date(1970, 1, 1)


class Partitions:
    """
    The partitions of one table.
    """

    def __init__(self, table: Table, options: PostgresOptions) -> None:
        self._table = table
        self._options = options
        self._known: set[date] = set()
        self._kept_up = _NEVER

    def forget(self) -> None:
        """
        Look again for what was there.
        """
        self._known.clear()
        self._kept_up = _NEVER

    async def make_room(self, connection: Connection, records: Iterable[Record]) -> None:
        """
        Make those that records go to; each hour also tomorrow's, and drop those that are too old.
        """
        if self._options.partition == "day":
            for day in self._new_days(records):
                await self._make(connection, day)
                self._known.add(day)
        if self._options.partition != "none" and datetime.now(UTC) - self._kept_up > _EACH:
            self._kept_up = datetime.now(UTC)
            await self._keep_up(connection)

    async def _keep_up(self, connection: Connection) -> None:
        if self._options.partition == "day":
            await self._make(connection, datetime.now(UTC).date() + timedelta(days=1))
        if self._options.retention_days:
            await self._expire(connection)

    def _new_days(self, records: Iterable[Record]) -> list[date]:
        numbers = {self._table.shape.when_ns(record.event) // _NS_A_DAY for record in records}
        today = (datetime.now(UTC).date() - _FIRST_DAY).days
        back = min(self._options.retention_days or _MOST_DAYS_BACK, _MOST_DAYS_BACK)
        near = (number for number in numbers if today - back <= number <= today + 1)
        return sorted({_FIRST_DAY + timedelta(days=number) for number in near} - self._known)

    async def _make(self, connection: Connection, day: date) -> None:
        name, table = self._table.partition(f"{day:%Y%m%d}"), self._table.name
        bounds = f"FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
        async with self._if_possible(connection):
            await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} FOR VALUES {bounds}")

    async def _expire(self, connection: Connection) -> None:
        async with self._if_possible(connection):
            for statement in await self._expiry(connection):
                await connection.execute(statement)

    @asynccontextmanager
    async def _if_possible(self, connection: Connection) -> AsyncIterator[None]:
        """
        Open a transaction that records need not wait for: what is old can stay, what is new goes to the default.
        """
        try:
            async with self._table.alone(connection):
                yield
        except CheckViolation:
            pass  # the default partition has records of that day already, and gets the others, too
        except InvalidObjectDefinition:
            pass  # a partition of somebody's, such as one for a month, has that day
        except LockNotAvailable:
            pass  # somebody reads
        except InsufficientPrivilege:
            told = f"the role may not make or drop partitions of {self._table.name}: those that are there take all"
            warn_once(told, told)

    async def _expiry(self, connection: Connection) -> list[str]:
        days = self._options.retention_days
        if self._options.partition == "hypertable":
            return [f"SELECT drop_chunks({literal(self._table.name)}, older_than => interval '{days} days')"]
        oldest = datetime.now(UTC).date() - timedelta(days=days)
        return [*self._drops(await self._there(connection), oldest), self._sweep(oldest)]

    async def _there(self, connection: Connection) -> list[tuple[str, str]]:
        cursor = await connection.execute(
            "SELECT nspname, relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE inhparent = to_regclass(%s)",
            (self._table.name,),
        )
        return await cursor.fetchall()

    def _drops(self, there: Iterable[tuple[str, str]], oldest: date) -> Iterator[str]:
        for schema, name in there:
            day = _day(name.removeprefix(f"{self._options.table_name}_"))
            if day is not None and day < oldest:
                yield f"DROP TABLE {quoted(schema)}.{quoted(name)}"

    def _sweep(self, oldest: date) -> str:
        default, time = self._table.partition("default"), quoted(self._table.shape.time)
        return f"DELETE FROM {default} WHERE {time} < '{oldest} 00:00+00'"  # noqa: S608 - names are quoted


def _day(suffix: str) -> date | None:
    try:
        return datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
