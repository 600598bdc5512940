"""The same calls in a SQLite file and in JSONL stores."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otel_llm.usage.jsonl import JsonlStore
from otel_llm.usage.sqlite import SqliteStore

COLUMNS = (
    "event_id recorded_at started_at ended_at service_name operation provider request_model "
    "response_model event_type status http_status error_type error_message streaming latency_ms ttft_ms "
    "input_tokens output_tokens total_tokens cache_read_tokens cache_write_tokens reasoning_tokens "
    "usage_source cost_usd cost_source request_id response_id attempts key_hash user_id session_id "
    "project_id org_id labels trace_id span_id event"
)


@pytest.fixture
def write_db(tmp_path):
    """
    Give a function that writes rows of `llm_calls` and gives the store.
    """

    def write(*rows: dict[str, Any]) -> SqliteStore:
        path = tmp_path / "calls.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS llm_calls (id INTEGER PRIMARY KEY, {COLUMNS.replace(' ', ', ')})"
            )
            for row in rows:
                names = ", ".join(row)
                marks = ", ".join(f":{name}" for name in row)
                connection.execute(f"INSERT INTO llm_calls ({names}) VALUES ({marks})", row)
            connection.commit()
        return SqliteStore(path)

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
