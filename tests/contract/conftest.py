"""
Programs run the way a user runs them, and all that OpenTelemetry's exporters are given of them.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otel_llm.testing import ProviderServer

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

    @property
    def calls(self):
        """Spans of GenAI calls, whoever made them."""
        return [span for span in self.spans if "gen_ai.operation.name" in span["attributes"]]

    def points(self, name):
        """
        Give the data points of one metric.
        """
        return [point for point in self.metrics if point["name"] == name]


@pytest.fixture(scope="session")
def dump_site(tmp_path_factory):
    """
    Install the dumping exporters in a folder for `PYTHONPATH`.
    """
    site = tmp_path_factory.mktemp("site")
    source = (CONFORMANCE / "telemetry_dump.py").read_text()
    (site / "telemetry_dump.py").write_text(source)
    info = site / "telemetry_dump-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telemetry-dump\nVersion: 1.0\n")
    entry_points = source.partition('ENTRY_POINTS = """')[2].partition('"""')[0]
    (info / "entry_points.txt").write_text(entry_points)
    return site


@pytest.fixture(scope="session")
def observe(dump_site, tmp_path_factory):
    """
    Run a program under `opentelemetry-instrument`, of any virtual environment, and read what was exported.
    """

    def observe(program, *arguments, python=sys.executable, instrument=True, **settings):
        folder = tmp_path_factory.mktemp("dump")
        launcher = [str(Path(python).with_name("opentelemetry-instrument"))] if instrument else []
        done = subprocess.run(
            [*launcher, str(python), *_source(program), *map(str, arguments)],
            env=_environment(folder, dump_site, settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        rows = {kind: _rows(folder / f"{kind}.jsonl") for kind in ("spans", "metrics", "records")}
        return Observed(done.stdout, done.stderr, done.returncode, rows["spans"], rows["metrics"], rows["records"])

    return observe


@pytest.fixture(scope="session")
def provider():
    """
    One provider server for programs that script nothing.
    """
    with ProviderServer() as running:
        yield running


def _source(program):
    return [str(program)] if isinstance(program, Path) else ["-c", program]


def _environment(folder, site, settings):
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TELEMETRY_DUMP": str(folder),
        "OTEL_TRACES_EXPORTER": "dump",
        "OTEL_METRICS_EXPORTER": "dump",
        "OTEL_LOGS_EXPORTER": "dump",
        "OTEL_TRACES_SAMPLER": "dump",
        "OTEL_LLM_JOURNAL_DIR": str(folder / "journal"),
    } | settings


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
