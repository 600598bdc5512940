"""
Programs whose calls are told apart, and the comparison: what the provider was asked is what the store has.
"""

import json
import shutil
import time
from pathlib import Path

from launch import Application

PROGRAMS = Path(__file__).with_name("process_life")
"""Modules that the programs import."""

SQLITE = {"OTEL_LLM_SINKS": "sqlite"}
LATE = {**SQLITE, "OTEL_LLM_FLUSH_INTERVAL_MS": "60000"}
"""Nothing is delivered before the process ends, unless somebody asks."""

STUCK = ("dead", "silent", "stubborn", "blocking", "rude")
_SINKS = {name: f"stuck_sinks:{name.title()}" for name in (*STUCK, "resolving", "parting")}
_WAITS = "from calls import call\ncall('next-start')\ninput()"


class Life(Application):
    """
    An application with `calls` at hand, and sinks of which most are stuck.
    """

    def __init__(self, folder, server):
        super().__init__(folder, server)
        self._server = server
        for module in PROGRAMS.glob("*.py"):
            shutil.copy(module, folder)
        self._install(folder / "stuck_sinks-1.dist-info")

    def start(self, source, *arguments, **options):
        """
        Start a program that is not told, as Python 3.12 and later tell it at a fork, that OpenTelemetry has threads.
        """
        quiet = {"PYTHONWARNINGS": "ignore:This process:DeprecationWarning"}
        return super().start(source, *arguments, **quiet | options)

    @property
    def asked(self):
        """The name of every call that reached the provider."""
        return sorted(json.loads(request.body)["model"] for request in self._server.requests)

    def forget(self):
        """
        Begin anew with what was asked.
        """
        self._server.clear()

    @property
    def stored(self):
        """The name of every call in the store, as often as it is there."""
        return sorted(name for (name,) in self.rows(columns="request_model"))

    def start_again(self, **settings):
        """
        Start the service once more, wait until it has delivered what its predecessors left, and end it.
        """
        process = self.start(_WAITS, **SQLITE | settings)
        self.wait_until(lambda: "next-start" in self.asked and self.stored == self.asked)
        assert process.communicate("\n", timeout=30) == ("", "")

    def wait_until(self, condition, timeout=30.0):
        """
        Wait for something that processes do.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not so after {timeout:g} s; {self.stored} in the store of {self.asked}")
            time.sleep(0.01)

    @staticmethod
    def _install(info):
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stuck-sinks\nVersion: 1\n")
        sinks = [f"{name} = {target}" for name, target in _SINKS.items()]
        exporters = [f"llm_{name} = otel_llm.delivery.exporter:{name}" for name in _SINKS]
        lines = ["[otel_llm_sink]", *sinks, "[opentelemetry_logs_exporter]", *exporters]
        (info / "entry_points.txt").write_text("\n".join(lines))


def is_quiet(said):
    """
    Tell whether a server that says all kinds of things says nothing of trouble.
    """
    return not any(word in said for word in ("Traceback", "Error", "Exception", "otel-llm"))
