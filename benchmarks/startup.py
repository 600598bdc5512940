"""
What otel-llm adds to the start of a process.

    python benchmarks/startup.py [--quick]

Programs are started in turn under `opentelemetry-instrument`, in an environment with otel-llm and in one without, and
compared by median; CPU time is that of the whole process, from start to exit.
"""

import argparse
import os
import statistics
import time
from typing import NamedTuple

import environments
from table import machine, number, render

_QUIET = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
_BARE, _OURS = "distro", "distro-otel-llm"


class Start(NamedTuple):
    """
    Milliseconds from start to exit.
    """

    cpu: float
    wall: float


def start(command: list[str], variables: dict[str, str]) -> Start:
    """
    Run a program to its end.
    """
    began = time.perf_counter()
    child = os.posix_spawn(command[0], command, {**os.environ, **_QUIET, **variables})
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return Start((usage.ru_utime + usage.ru_stime) * 1e3, (time.perf_counter() - began) * 1e3)


def compared(programs: dict[str, tuple[list[str], dict[str, str]]], rounds: int) -> dict[str, Start]:
    """
    Run the programs in turn; give the medians.
    """
    starts: dict[str, list[Start]] = {name: [start(*program)] for name, program in programs.items()}
    for _ in range(rounds):
        for name, program in programs.items():
            starts[name].append(start(*program))
    return {name: Start(*map(statistics.median, zip(*each[1:], strict=True))) for name, each in starts.items()}


def _instrumented(environment: str, code: str) -> list[str]:
    instrument = environments.binary(environment, "opentelemetry-instrument")
    return [instrument, environments.binary(environment), "-c", code]


def _plain(code: str) -> list[str]:
    return [environments.binary(_OURS), "-c", code]


def _programs() -> dict[str, tuple[list[str], dict[str, str]]]:
    sink = {"OTEL_LLM_SINKS": "jsonl"}
    return {
        "python": (_plain("pass"), {}),
        "python, import opentelemetry.sdk": (_plain("import opentelemetry.sdk.trace, opentelemetry.sdk._logs"), {}),
        "python, import otel_llm": (_plain("import otel_llm"), {}),
        "opentelemetry-instrument": (_instrumented(_BARE, "pass"), {}),
        "opentelemetry-instrument with otel-llm": (_instrumented(_OURS, "pass"), {}),
        "… and a sink": (_instrumented(_OURS, "pass"), sink),
        "opentelemetry-instrument, import openai": (_instrumented(_BARE, "import openai"), {}),
        "opentelemetry-instrument, import openai, with otel-llm": (_instrumented(_OURS, "import openai"), {}),
    }


def _table(starts: dict[str, Start]) -> str:
    rows = [[name, number(each.cpu, 0), number(each.wall, 0)] for name, each in starts.items()]
    return render(("from start to exit", "CPU ms", "wall ms"), rows)


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description="What otel-llm adds to the start of a process.")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    rounds = 3 if parser.parse_args().quick else 15
    print(f"{machine()}; {rounds} rounds\n\n{_table(compared(_programs(), rounds))}")


if __name__ == "__main__":
    main()
