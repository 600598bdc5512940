import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Give every test an environment in which all is well."""
    for name in os.environ:
        if name.startswith(("OTEL_", "METRICS_", "ENABLED_EXPORTERS")):
            monkeypatch.delenv(name)
    for signal in ("TRACES", "METRICS", "LOGS"):
        monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OTEL_LLM_SINKS", "sqlite")
    monkeypatch.setenv("OTEL_LLM_SQLITE_PATH", str(tmp_path / "calls.db"))
    monkeypatch.chdir(tmp_path)
    return monkeypatch
