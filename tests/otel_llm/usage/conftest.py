"""The same calls in a SQLite file, in PostgreSQL and in JSONL stores."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from otel_llm_exporters.postgres import PostgresOptions, PostgresSink

from otel_llm.settings.secret import Secret
from otel_llm.usage.jsonl import JsonlStore
from otel_llm.usage.postgres import PostgresStore
from otel_llm.usage.schema import SQLITE_SCHEMA
from otel_llm.usage.sqlite import SqliteStore


@pytest.fixture
def write_db(tmp_path):
    """
    Give a function that writes rows of `llm_calls` and gives the store.
    """

    def write(*rows: dict[str, Any]) -> SqliteStore:
        path = tmp_path / "calls.db"
        with closing(sqlite3.connect(path)) as connection:
            for statement in SQLITE_SCHEMA:
                connection.execute(statement)
            for told in rows:
                row = {"recorded_at": told["ended_at"], "event": "{}"} | told
                names = ", ".join(row)
                marks = ", ".join(f":{name}" for name in row)
                connection.execute(f"INSERT INTO llm_calls ({names}) VALUES ({marks})", row)
            connection.commit()
        return SqliteStore(path)

    return write


@pytest.fixture
async def write_postgres(servers):
    """
    Give a function that writes rows of `llm_calls` and gives the store.
    """
    server = servers.get("postgres")
    server.empty("usage")
    dsn = Secret(f"postgresql://postgres@{server.endpoint}/usage")
    sink = PostgresSink(PostgresOptions(dsn=dsn))
    await sink.open()
    await sink.close()

    def write(*rows: dict[str, Any]) -> PostgresStore:
        with server.connect("usage") as connection:
            connection.execute("SET timezone = 'UTC'")
            for told in rows:
                row = {"recorded_at": told["ended_at"], "event": "{}"} | told
                marks = ", ".join(f"%({name})s" for name in row)
                connection.execute(f"INSERT INTO llm_calls ({', '.join(row)}) VALUES ({marks})", row)
        return PostgresStore(dsn)

    return write


@pytest.fixture
def write_jsonl(tmp_path):
    """
    Give a function that writes entries by `folder/file` and gives the store.
    """

    def write(files: dict[str, list[dict[str, Any] | str]]) -> JsonlStore:
        for name, entries in files.items():
            path: Path = tmp_path / "logs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return JsonlStore(tmp_path / "logs")

    return write
