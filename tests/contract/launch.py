"""
An ordinary application, started the way its user starts it, and what it leaves behind.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

CHAT = """
import openai
answer = openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
"""
"""An application that knows nothing of OpenTelemetry."""

ANSWER = "It is sunny in Lisbon, with a light breeze from the sea.\n"
"""What it prints."""

ROW = ("openai", "gpt-4o-mini", "success", 9, 12, 8.55e-06)
"""What a store has of its call: 9 tokens at $0.15 and 12 at $0.60 for a million."""

_COLUMNS = "provider, request_model, status, input_tokens, output_tokens, cost_usd"


class Application:
    """
    Runs programs in a folder of their own, with a provider to call and no exporter switched on.
    """

    def __init__(self, folder, server):
        self.folder = folder
        self._provider = server.environment
        self._processes = []

    def start(self, source, *arguments, launcher="opentelemetry-instrument", python=sys.executable, **settings):
        """
        Start a program, or its source, with these environment variables; those that are None are left out.
        """
        tools = Path(python).parent
        begin = [tools / launcher, *(["run", "--"] if launcher == "otel-llm" else [])] if launcher else []
        process = subprocess.Popen(
            [*begin, python, *self._program(source), *arguments],
            cwd=self.folder,
            env=self._environment(tools, settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._processes.append(process)
        return process

    def run(self, source, *arguments, **options):
        """
        Run a program to its end.
        """
        process = self.start(source, *arguments, **options)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(source, process.returncode, stdout, stderr)

    def rows(self, database="otel-llm.db", columns=_COLUMNS):
        """
        Give the calls in a database; none where there is no database yet.
        """
        path = self.folder / database
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'llm_calls'").fetchone()
            return connection.execute(f"SELECT {columns} FROM llm_calls ORDER BY id").fetchall() if known else []

    def wait_for_rows(self, count, timeout=30.0):
        """
        Give the calls as soon as there are so many.
        """
        deadline = time.monotonic() + timeout
        while len(rows := self.rows()) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(rows)} rows after {timeout:g} s, not {count}")
            time.sleep(0.01)
        return rows

    def documents(self, store):
        """
        Give the lines of a JSONL store.
        """
        texts = [path.read_text() for path in sorted((self.folder / store).glob("*.jsonl"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    @property
    def journal(self):
        """Where journals are by default."""
        return self.folder / "state" / "otel-llm" / "journal"

    @property
    def left(self):
        """Every file and folder, besides the program itself."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")} - {"app.py"}

    def close(self):
        """
        End what still runs, also the children that a program left: they hold its output open.
        """
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _program(self, source):
        if source[0] == "-":
            return source.split()
        (self.folder / "app.py").write_text(source)
        return ["app.py"]

    def _environment(self, tools, settings):
        variables = {
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.folder / "home"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            **self._provider,
            **settings,
        }
        return {name: str(value) for name, value in variables.items() if value is not None}
