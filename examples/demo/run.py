"""
Runs the demo: the application under `opentelemetry-instrument`, then what was recorded of its calls.

The provider is a server on this machine, or with `--live` the real one.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from otel_llm.testing import ProviderServer, Reply

APP = os.path.relpath(Path(__file__).with_name("app.py"))
SCRIPTS = Path(sys.executable).parent
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
UNHURRIED = Reply(first_byte_delay=0.12, chunk_delay=0.01)


def main(*options: str) -> int:
    """
    Run the application and show its calls; gives the exit code.
    """
    live = "--live" in options
    if live and not any(map(os.environ.get, KEYS)):
        print(f"A live demo needs {' or '.join(KEYS)} in the environment.", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otel-llm-demo-")))
        local = {} if live else {**stack.enter_context(_local_provider()).environment, "NO_PROXY": "127.0.0.1"}
        return _show({**_inherited(), **local, **_settings(folder)})


def _local_provider() -> ProviderServer:
    server = ProviderServer(default=UNHURRIED)
    busy, denied = Reply.rate_limited(retry_after=0.2), Reply(status=401)
    server.queue("/chat/completions", busy, containing=b"at a busy hour")
    server.queue("/chat/completions", busy, busy, busy, containing=b"beyond the quota")
    server.queue("/chat/completions", denied, containing=b"a mistyped key")
    return server


def _inherited() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


def _settings(folder: Path) -> Mapping[str, str]:
    return {
        "PATH": os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)]),
        "OTEL_SERVICE_NAME": "weather",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_LLM_SINKS": "sqlite",
        "OTEL_LLM_SQLITE_PATH": str(folder / "calls.db"),
        "OTEL_LLM_JOURNAL_DIR": str(folder / "journal"),
    }


def _show(environment: Mapping[str, str]) -> int:
    code = _step(environment, "opentelemetry-instrument", "python", APP)
    for command in (["tail", "-n", "100"], ["report"]):
        code = code or _step(environment, "otel-llm", *command)
    return code


def _step(environment: Mapping[str, str], *command: str) -> int:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}$ {' '.join(command)}{plain}", flush=True)
    return subprocess.run(command, env=dict(environment), check=False).returncode  # noqa: S603 - our own programs


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
