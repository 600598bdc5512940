import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "examples" / "demo" / "run.py"
APP = RUN.with_name("app.py")


def test_application_is_unmodified():
    """
    The demo's application imports two SDKs and the standard library: nothing of ours, nothing of OpenTelemetry.
    """
    imported = set(re.findall(r"^(?:import|from) (\w+)", APP.read_text(), re.MULTILINE))
    assert imported == {"anthropic", "asyncio", "collections", "openai", "os", "typing"}


@pytest.mark.slow
def test_demo_shows_every_call_once():
    """
    The demo ends well, shows one line per call without colours or exponents, and the report's total counts them.
    """
    done = subprocess.run([sys.executable, RUN], capture_output=True, text=True, timeout=120, check=True)
    _, app, tail, report = done.stdout.split("\n$ ")
    calls, total = tail.strip().splitlines()[1:], report.strip().splitlines()[-1]
    assert (done.stderr, app.count(": fine"), len(calls), total.split()[:2]) == ("", 12, 35, ["total", "35"])
    assert not re.search(r"\x1b|\$\d+(\.\d+)?e", done.stdout)


def test_live_demo_asks_for_a_key():
    """
    Without any key a live demo says which it needs.
    """
    done = subprocess.run([sys.executable, RUN, "--live"], capture_output=True, text=True, check=False, env={})
    assert (done.returncode, "OPENAI_API_KEY or ANTHROPIC_API_KEY" in done.stderr) == (2, True)
