"""
Programs run the way a user runs them, and all that OpenTelemetry's exporters are given of them.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

CONFORMANCE = Path(__file__).with_name("conformance")
EVENT = "gen_ai.client.inference.operation.details"


@dataclass
class Observed:
    """
    What one program did and told.
    """

    stdout: str
    stderr: str
    returncode: int
    spans: list = field(default_factory=list)
    metrics: list = field(default_factory=list)
    logs: list = field(default_factory=list)

    @property
    def records(self):
        """Our own records of calls."""
        return [log for log in self.logs if log["name"] == EVENT and log["scope"] == "otel_llm"]

    def points(self, name):
        """
        Give the data points of one metric.
        """
        return [point for point in self.metrics if point["name"] == name]


def observe(program, folder, *, python=sys.executable, **settings):
    """
    Run a program, a file or its text, under the `opentelemetry-instrument` of a virtual environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = [str(program)] if isinstance(program, Path) else ["-c", program]
    done = subprocess.run(
        [str(Path(python).with_name("opentelemetry-instrument")), str(python), *source],
        env=_environment(folder) | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = (_rows(folder / f"{kind}.jsonl") for kind in ("spans", "metrics", "records"))
    return Observed(done.stdout, done.stderr, done.returncode, *told)


def _environment(folder):
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "PYTHONPATH": _site().name,
        "PYTHONDONTWRITEBYTECODE": "1",
        "TELEMETRY_DUMP": str(folder),
        "OTEL_TRACES_EXPORTER": "dump",
        "OTEL_METRICS_EXPORTER": "dump",
        "OTEL_LOGS_EXPORTER": "dump",
        "OTEL_TRACES_SAMPLER": "dump",
        "OTEL_LLM_JOURNAL_DIR": str(folder / "journal"),
    }


@functools.cache
def _site():
    """
    Install the dumping exporters in a folder for `PYTHONPATH`, once.
    """
    site = tempfile.TemporaryDirectory(prefix="telemetry-dump-", ignore_cleanup_errors=True)
    source = (CONFORMANCE / "telemetry_dump.py").read_text()
    info = Path(site.name) / "telemetry_dump-1.0.dist-info"
    info.mkdir()
    (info.parent / "telemetry_dump.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telemetry-dump\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(source.partition('ENTRY_POINTS = """')[2].partition('"""')[0])
    return site


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
