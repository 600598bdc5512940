"""A database of calls, and the command as a process of its own."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from otel_llm.formats import otel
from otel_llm.telemetry.event import EVENT_NAME, Event
from otel_llm.usage.schema import SQLITE_INSERT, SQLITE_SCHEMA, row

STARTED = 1_793_700_900_000_000_000
"""2026-11-03T10:15:00Z."""


@pytest.fixture
def event():
    """
    Give a function that makes the event of one chat, `number` seconds after the first.
    """

    def make(number=0, **attributes):
        started = STARTED + number * 1_000_000_000
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 10,
            "gen_ai.usage.cost": 0.000123,
            "otel_llm.status": "success",
            "otel_llm.event.type": "api_call",
            "otel_llm.start_time_unix_nano": started,
            "otel_llm.duration": 0.25,
            "otel_llm.attempts": 1,
        }
        attributes = {name: value for name, value in (told | attributes).items() if value is not None}
        ended = started + 250_000_000
        return Event(f"event-{number}", EVENT_NAME, ended, ended, 9, "INFO", attributes, "a" * 32, "b" * 16, 1)

    return make


@pytest.fixture
def record():
    """
    Give a function that writes events into a SQLite file.
    """

    def write(path, *events):
        with closing(sqlite3.connect(path)) as connection:
            for statement in SQLITE_SCHEMA:
                connection.execute(statement)
            connection.executemany(SQLITE_INSERT, [(*row(one), otel.encode(one).decode()) for one in events])
            connection.commit()
        return path

    return write


@pytest.fixture
def otel_llm(tmp_path):
    """
    Give a function that starts the command in an empty folder, with none of our or OpenTelemetry's variables set.
    """
    processes = []

    def start(*arguments, **environ):
        bare = {name: value for name, value in os.environ.items() if "OTEL" not in name and name != "PYTHONPATH"}
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_llm.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            env=bare | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def interruptible():
    """
    Undo that a run in the background may ignore Ctrl-C, which programs started here would inherit.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
