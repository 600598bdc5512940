"""
PostgreSQL's client alone: rows that lie ready, copied into the same table, each batch committed before the next.
"""

import asyncio
from typing import Any

import psycopg
from otel_llm_exporters import postgres_table
from otel_llm_exporters.postgres import PostgresOptions, PostgresSink

from otel_llm.delivery.sink import Record
from otel_llm.formats import find
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import Event

SERVER = "postgres"


def sinks(server: Any) -> dict[str, Any]:
    """
    Give what is ours.
    """
    return {"postgres": ("postgres", {"dsn": server.dsn}, "bare COPY, our table")}


def clients(server: Any) -> dict[str, Any]:
    """
    Give what is not.
    """
    return {"bare COPY, our table": lambda: Table(server.dsn)}


class Table:
    """
    The table `llm_calls` of a schema of its own, with its indexes.
    """

    def __init__(self, dsn: str) -> None:
        options = PostgresOptions(dsn=Secret(dsn), schema="bare")
        asyncio.run(_made(options))
        table = postgres_table.Table(options)
        names = ", ".join(map(postgres_table.quoted, table.rows.names))
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._statement = f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)"
        self._types = table.rows.wire_types
        self._row = table.rows.row

    def ready(self, event: Event) -> list[Any]:
        """
        Give a row as the table itself takes it.
        """
        return self._row(Record(event, find("otel").encode(event)))

    def send(self, rows: list[list[Any]]) -> None:
        """
        Write one batch.
        """
        with self._connection.cursor() as cursor, cursor.copy(self._statement) as copy:
            copy.set_types(self._types)
            for row in rows:
                copy.write_row(row)

    def close(self) -> None:
        self._connection.close()


async def _made(options: PostgresOptions) -> None:
    sink = PostgresSink(options)
    await sink.open()
    await sink.close()
