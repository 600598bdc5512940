import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_snippet_prints_what_it_says(tmp_path):
    """
    The README's Python runs without a key, and its output is the one shown below it but for the clock.
    """
    ((snippet, output),) = re.findall(r"```python\n(.*?)```\s+```\n(.*?)```", README, re.DOTALL)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(tmp_path),
        "OTEL_LLM_STDOUT_STYLE": "line",
    }
    done = subprocess.run(
        [sys.executable, "-c", snippet], check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert (_without_clock(done.stdout), done.stderr) == (_without_clock(output), "")


def _without_clock(text):
    return re.sub(r"\d\d:\d\d:\d\d|\d+ ms", "", text)
