"""Journals that killed processes left, and a sink that takes, refuses or fails as a file says."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from otel_llm import diagnostics
from otel_llm.cli.main import main
from otel_llm.delivery import setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.settings import load
from otel_llm.telemetry.event import Event, new_event_id

SINK = '''
import time
from dataclasses import dataclass
from pathlib import Path

from otel_llm import BlockingSink, Delivered, Receipt, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeOptions:
    """Options of the sink `acme`."""

    path: str
    """The file that gets the numbers; beside it `mood` says how the sink behaves."""


class AcmeSink(BlockingSink):
    """Writes each record's number on a line."""

    Options = AcmeOptions

    def __init__(self, options):
        self.path = Path(options.path)

    def open(self):
        pass

    def send(self, batch):
        mood = self.path.with_name("mood").read_text()
        if mood == "down":
            raise ConnectionError("acme is down")
        return Receipt([self.take(record.event, mood) for record in batch.records])

    def take(self, event, mood):
        number = event.attributes["number"]
        if mood == f"stuck at {number}":
            self.path.with_name("stuck").touch()
            time.sleep(60)
        if mood == "picky" and number % 2:
            return Rejected(f"cannot take {number}, near {event.attributes['gen_ai.input.messages'][3:40]}")
        with self.path.open("a") as file:
            file.write(f"{number}\\n")
        return Delivered()

    def close(self):
        pass
'''

PROGRAM = """
import os, signal, sys, time
from otel_llm.delivery import setup
from otel_llm.settings import load
from otel_llm.telemetry.event import Event, new_event_id

delivery = setup.delivery(load())
for number in range(int(sys.argv[1])):
    now = time.time_ns() - 60_000_000_000
    attributes = {"number": number, "gen_ai.request.model": "gpt-4o", "gen_ai.input.messages": "my canary secret " * 5}
    assert delivery.append(Event(new_event_id(), "test", now, now, 9, "INFO", attributes))
print("written", flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
os._exit(0)
"""


class Shop:
    """
    A service with sinks, whose processes leave journals behind.
    """

    def __init__(self, folder):
        self.folder = folder
        self.journal = folder / "journal"
        self.told = folder / "told"
        self.processes = []
        self.mood("take")
        (folder / "acme_sink.py").write_text(SINK)
        metadata = folder / "acme_sink-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme_sink\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[otel_llm_sink]\nacme = acme_sink:AcmeSink\n")

    def mood(self, mood):
        (self.folder / "mood").write_text(mood)

    def environ(self, *, service="shop", sinks="acme", **more):
        return {
            "OTEL_SERVICE_NAME": service,
            "OTEL_LLM_SINKS": sinks,
            "OTEL_LLM_JOURNAL_DIR": str(self.journal),
            "OTEL_LLM_FLUSH_INTERVAL_MS": "3600000",
            "OTEL_LLM_BATCH_SIZE": "1000000",
            "PYTHONPATH": str(self.folder),
            **{f"OTEL_LLM_{sink.upper()}_PATH": str(self.told) for sink in sinks.split(",") if sink == "acme"},
            **more,
        }

    def process(self, count, end="killed", **environ):
        """
        Start a process that journals so many records, and is killed or stays alive.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(count), end],
            env={**_bare(), **self.environ(**environ)},
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout.readline() == "written\n"
        if end == "killed":
            assert process.wait(20) == -signal.SIGKILL
        else:
            process.send_signal(signal.SIGSTOP)  # alive, but it inherits from nobody meanwhile
        return process

    def leave(self, count, **environ):
        """
        Leave a journal with so many records in no time, as a process does that ends while its sinks are down.
        """
        loaded = load(environ=self.environ(**environ))
        settings = setup.delivery_settings(loaded.settings)
        settings = replace(settings, service_name=environ.get("service", "shop"))
        delivery = Delivery(sinks=setup.sink_specs(loaded.sinks), settings=settings)
        self.mood("down")
        for number in range(count):
            assert delivery.append(record(number))
        delivery.shutdown(0)
        self.mood("take")

    @property
    def numbers(self):
        """The numbers that arrived, as often as they did."""
        return sorted(map(int, self.told.read_text().split())) if self.told.exists() else []

    def wait_until_stuck(self):
        """
        Wait until the sink is at the number that it hangs at; all before it have arrived.
        """
        deadline = time.monotonic() + 30
        while not (self.folder / "stuck").exists():
            assert time.monotonic() < deadline, self.numbers
            time.sleep(0.01)

    @property
    def letters(self):
        """The dead letters as they lie in the files."""
        files = self.journal.glob("*/dead-letters/*.jsonl")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def end(self):
        for process in self.processes:
            process.kill()
            process.communicate()


def record(number):
    now = time.time_ns() - 60_000_000_000
    attributes = {"number": number, "gen_ai.request.model": "gpt-4o", "gen_ai.input.messages": "my canary secret " * 5}
    return Event(new_event_id(), "test", now, now, 9, "INFO", attributes)


def _bare():
    return {name: value for name, value in os.environ.items() if "OTEL" not in name and name != "PYTHONPATH"}


@pytest.fixture
def shop(tmp_path, install, monkeypatch):
    """
    Give a service whose settings are those of this process, too.
    """
    made = Shop(tmp_path)
    install("acme_dummy", "")
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in made.environ().items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(diagnostics, "_warned", set())
    monkeypatch.chdir(tmp_path)
    yield made
    made.end()


@pytest.fixture
def journal(shop, capsys):  # noqa: ARG001 - the settings have to be there
    """
    Give a function that runs an action of `otel-llm journal` and gives exit code and output.
    """

    def run(action, *arguments, service="shop"):
        scoped = [] if action in {"ls", "dead"} or service is None else ["--service", service]
        code = main(["journal", action, *arguments, *scoped])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out

    return run
