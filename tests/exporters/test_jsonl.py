import json
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from otel_llm_exporters.jsonl import JsonlOptions, JsonlSink

from otel_llm.usage.retention import expire


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "logs"


@pytest.fixture
def open_sink(folder):
    """
    Give a function that opens a sink.
    """

    def make(**options) -> JsonlSink:
        sink = JsonlSink(JsonlOptions(path=str(folder), **options))
        sink.open()
        return sink

    return make


def lines(folder, store: str, day: str = "2026-01-12") -> list[dict]:
    return [json.loads(line) for line in (folder / store / f"{day}.jsonl").read_text().splitlines()]


def test_one_file_per_date(open_sink, folder, call, batch_of):
    """An entry goes to the file of the UTC date on which its call began."""
    day_ns = 86_400 * 10**9
    first = call()
    open_sink().send(batch_of(first, call(at_ns=first.timestamp_ns + day_ns), wanted="usage"))
    assert sorted(path.name for path in (folder / "usage").iterdir()) == ["2026-01-12.jsonl", "2026-01-13.jsonl"]
    (entry,) = lines(folder, "usage")
    assert (entry["eventId"], entry["timestamp"]) == (first.id, "2026-01-12T11:59:59.310Z")


@pytest.mark.parametrize("sync", [True, False])
def test_sync(open_sink, folder, call, batch_of, monkeypatch, sync):
    """Where that is wanted, the disk has a batch, whole and under its name, before it counts as delivered."""
    synced = {}

    def note(descriptor):
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, note)
    open_sink(sync=sync).send(batch_of(call(), wanted="usage"))
    store = folder / "usage"
    (file,) = store.iterdir()
    assert (synced.get(file.stat().st_ino) == file.stat().st_size, store.stat().st_ino in synced) == (sync, sync)


def test_errors(open_sink, folder, call, failed, batch_of):
    """A failed call stands in the store `errors`, too, with what is known of the failure."""
    open_sink().send(batch_of(call(), failed, wanted="usage"))
    assert len(lines(folder, "usage")) == 2
    assert lines(folder, "errors") == [
        {
            "id": failed.id,
            "eventId": failed.id,
            "timestamp": "2026-01-12T11:59:59.310Z",
            "requestedModel": "gpt-4o",
            "provider": "openai",
            "model": "gpt-4o-2024-11-20",
            "status": "error",
            "errorType": "invalid_api_key",
            "errorMessage": "Incorrect API key provided.",
            "httpStatus": 401,
            "stack": None,
            "requestBody": [{"role": "user", "content": "hello"}],
        }
    ]


def test_no_debug_by_default(open_sink, folder, call, batch_of):
    """Whole records are written only when asked for."""
    open_sink().send(batch_of(call(), wanted="usage"))
    assert not (folder / "debug").exists()


def test_debug(open_sink, folder, call, batch_of):
    """The store `debug` holds whole records, without the part of the content that is not wanted."""
    event = call(gen_ai__input__messages=["asked"], gen_ai__output__messages=["answered"])
    open_sink(debug_enabled=True, debug_capture_requests=False).send(batch_of(event, wanted="usage"))
    (record,) = lines(folder, "debug")
    assert record["event_id"] == event.id
    assert record["attributes"]["gen_ai.output.messages"] == ["answered"]
    assert "gen_ai.input.messages" not in record["attributes"]


def test_folders_of_their_own(open_sink, folder, tmp_path, failed, batch_of):
    """Each store can have a folder elsewhere, or be switched off."""
    open_sink(usage_enabled=False, errors_path=str(tmp_path / "failures")).send(batch_of(failed, wanted="usage"))
    assert len(list((tmp_path / "failures").glob("*.jsonl"))) == 1
    assert not folder.exists()


def test_several_processes(folder):
    """Several processes append to one file at once; every line is whole."""
    program = """
import sys, json
from otel_llm.delivery.sink import Batch, Record
from otel_llm.telemetry.event import Event, new_event_id
from otel_llm_exporters.jsonl import JsonlOptions, JsonlSink
sink = JsonlSink(JsonlOptions(path=sys.argv[1]))
sink.open()
for number in range(30):
    events = [Event(new_event_id(), "", int(sys.argv[2]), 0, 9, "INFO", {}) for _ in range(20)]
    sink.send(Batch([Record(event, json.dumps({"id": event.id, "pad": "x" * 3000}).encode()) for event in events]))
"""
    now = str(time.time_ns())
    running = [subprocess.Popen([sys.executable, "-c", program, str(folder), now]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    (path,) = (folder / "usage").iterdir()
    assert len({entry["id"] for entry in lines(folder, "usage", path.stem)}) == 3 * 30 * 20


def test_mode(open_sink, folder, call, batch_of):
    """Only we may read the files."""
    open_sink().send(batch_of(call(), wanted="usage"))
    assert (folder / "usage" / "2026-01-12.jsonl").stat().st_mode & 0o777 == 0o600


class TestRetention:
    def test_at_open(self, open_sink, folder):
        """Opening deletes what is older than each store keeps."""
        today = datetime.now(UTC).date()
        ages = {"usage": (29, 31), "errors": (89, 91), "debug": (6, 8)}
        for store, days in ages.items():
            (folder / store).mkdir(parents=True)
            for age in days:
                (folder / store / f"{today - timedelta(days=age)}.jsonl").touch()
        open_sink(debug_enabled=True)
        left = {store: [path.stem for path in (folder / store).iterdir()] for store in ages}
        assert left == {store: [str(today - timedelta(days=days[0]))] for store, days in ages.items()}

    def test_daily(self, open_sink, folder, call, batch_of, monkeypatch):
        """A process that runs for days deletes when the date changes."""
        sink = open_sink()
        (folder / "usage" / "2020-01-01.jsonl").touch()
        sink.send(batch_of(call(), wanted="usage"))
        assert (folder / "usage" / "2020-01-01.jsonl").exists()
        monkeypatch.setattr(sink, "_expired_on", date(2020, 1, 1))
        sink.send(batch_of(call(), wanted="usage"))
        assert not (folder / "usage" / "2020-01-01.jsonl").exists()

    def test_other_files_stay(self, tmp_path):
        """Only files that are named after a date are deleted."""
        (tmp_path / "notes.jsonl").touch()
        (tmp_path / "2020-01-01.jsonl").touch()
        (tmp_path / "2020-01-01.txt").touch()
        assert [path.name for path in expire(tmp_path, 30)] == ["2020-01-01.jsonl"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["2020-01-01.txt", "notes.jsonl"]

    def test_for_ever(self, tmp_path):
        """0 days keep everything."""
        (tmp_path / "2020-01-01.jsonl").touch()
        assert expire(tmp_path, 0) == []
