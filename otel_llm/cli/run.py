"""
`otel-llm run`: start an application with everything switched on.

The application takes our place (`exec`), so that its exit code and its signals are its own. What the user configured
stays; what is missing gets a default that works on a machine with no Collector.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

DATABASE = "otel-llm.db"
"""Where records go by default, in the working directory."""

NOT_FOUND = 127
NOT_EXECUTABLE = 126

_EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")
_SINK_CHOICES = ("OTEL_LLM_SINKS", "OTEL_LLM_CONFIG", "ENABLED_EXPORTERS", "OTEL_CONFIG_FILE")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command `run`.
    """
    parser = subparsers.add_parser(
        "run",
        help="run an application with its LLM calls recorded",
        description=f"Run an application with its LLM calls recorded, by default in ./{DATABASE}.",
        usage="otel-llm run -- python app.py [argument ...]",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help="the program and its arguments")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Become the program; gives an exit code only where that cannot be.
    """
    program = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not program:
        return _refuse("no program given, as in: otel-llm run -- python app.py", 2)
    executable = shutil.which(program[0])
    if executable is None:
        return _refuse(_advice(program[0]), NOT_FOUND)
    try:
        os.execve(executable, [executable, *program[1:]], environment(os.environ, Path.cwd()))  # noqa: S606 - the point
    except OSError as exc:
        return _refuse(f"{program[0]} cannot be executed: {exc.strerror}", NOT_EXECUTABLE)


def environment(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """
    Give the environment in which Python sets OpenTelemetry up before the application starts.
    """
    result = dict(given) | {"PYTHONPATH": _python_path(given.get("PYTHONPATH", ""), folder)}
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") and value for name, value in given.items()):
        result |= {name: "none" for name in _EXPORTERS if not given.get(name)}
    if not _has_sinks(given):
        result["OTEL_LLM_SINKS"] = "sqlite"
        result["OTEL_LLM_SQLITE_PATH"] = given.get("OTEL_LLM_SQLITE_PATH") or str(folder / DATABASE)
    return result


def _has_sinks(given: Mapping[str, str]) -> bool:
    exporters = given.get("OTEL_LOGS_EXPORTER", "").split(",")
    return any(given.get(name) for name in _SINK_CHOICES) or any(name.strip().startswith("llm_") for name in exporters)


def _python_path(given: str, folder: Path) -> str:
    """
    Put OpenTelemetry's sitecustomize first and the working directory next, as `opentelemetry-instrument` does.
    """
    hook = _hook_folder()
    paths = [path for path in given.split(os.pathsep) if path and path != hook]
    if str(folder) not in paths:
        paths.insert(0, str(folder))
    return os.pathsep.join([hook, *paths])


def _hook_folder() -> str:
    spec = find_spec("opentelemetry.instrumentation.auto_instrumentation.sitecustomize")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("opentelemetry-instrumentation has no sitecustomize")
    return str(Path(spec.origin).parent)


def _advice(name: str) -> str:
    if name.endswith(".py") and Path(name).is_file():
        return f"{name} is not executable; run it as: otel-llm run -- python {name}"
    return f"there is no program {name!r} on the PATH"


def _refuse(reason: str, code: int) -> int:
    print(f"otel-llm run: {reason}", file=sys.stderr)
    return code
