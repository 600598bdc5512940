"""
What instrumentation costs a call: otel-llm beside its peers.

    python benchmarks/overhead.py [--quick] [--peers …] [--scenarios …] [--rounds N] [--out FILE]

Each peer lives in a process of its own, with its own environment, all of them on one core. All first make the calls
bare, then instrumented, a few calls each in random order. The core is at times twice as slow as at others, so each
block lies between two blocks of a process that stays bare all the time, and is counted in those. A peer's overhead is
the difference between its instrumented and its bare calls. Two processes of one peer differ by a fifth, by where their
memory happens to lie; so each figure is the mean over several.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import environments
from peers import PEERS
from table import machine, number, render

HERE = Path(__file__).parent
CALLS = {
    "chat": 24,
    "async chat": 24,
    "stream of 50": 5,
    "stream of 500": 2,
    "anthropic": 40,
    "anthropic stream of 50": 5,
    "anthropic stream of 500": 2,
    "not an LLM call": 1500,
}
"""Calls of one round."""

PAIRED = ("not an LLM call",)
"""What is so little that bare and instrumented take turns within one process; of `none` it shows the noise."""

BARE = "none"
"""The peer that all others are counted in."""

DEFAULT_PEERS = (
    "none",
    "floor",
    "genai",
    "genai+content",
    "langfuse",
    "otel-llm",
    "otel-llm+journal",
    "otel-llm+content",
)
UNSAMPLED_PEERS = ("none", "floor", "genai", "otel-llm", "otel-llm+journal")
_SLOPES = {
    "per chunk": ("stream of 50", "stream of 500"),
    "anthropic per chunk": ("anthropic stream of 50", "anthropic stream of 500"),
}
_KINDS = ("inline", "total")
"""On the caller's thread; on all threads, until everything is exported and acknowledged."""

Figure = dict[str, float]
"""Kind to microseconds of CPU, or to how many bare calls of that moment."""

Rounds = dict[str, list[Figure]]
"""Peer to what each round gave."""


class Process:
    """
    The process of one peer.
    """

    def __init__(self, name: str, variables: dict[str, str]) -> None:
        self.name = name
        self.peer = PEERS[name]
        python = environments.binary(self.peer.environment)
        environ = {**os.environ, "PYTHONWARNINGS": "ignore", **variables}
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def knows(self, scenario: str) -> bool:
        """
        Whether the peer sees this kind of call.
        """
        return self.peer.only is None or scenario in self.peer.only

    def switch_on(self) -> None:
        """
        Install the peer.
        """
        self._ask({"switch_on": True})

    def measure(self, scenario: str, calls: int) -> Figure:
        """
        Make so many calls; give CPU microseconds per call.
        """
        return self._ask({"scenario": scenario, "calls": calls})

    def end(self) -> None:
        """
        Let the process go.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early, see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Session:
    """
    Peers side by side.
    """

    peers: tuple[str, ...]
    scenarios: tuple[str, ...]
    rounds: int
    variables: dict[str, str] = field(default_factory=dict)
    dice: Random = field(default_factory=lambda: Random(1))

    def overheads(self) -> tuple[dict[str, dict[str, Figure]], dict[str, dict[str, str]]]:
        """
        Give what each peer adds to each kind of call, and the versions that were measured.
        """
        processes = [Process(name, self.variables) for name in self.peers]
        try:
            bare = self._phase(processes, "bare", tuple(each for each in self.scenarios if each not in PAIRED))
            for process in processes:
                process.switch_on()
            instrumented = self._phase(processes, "instrumented", self.scenarios)
        finally:
            for process in processes:
                process.end()
        figures = {scenario: _added(bare.get(scenario), rounds) for scenario, rounds in instrumented.items()}
        return figures, {process.name: process.versions for process in processes}

    def _phase(self, processes: list[Process], name: str, scenarios: tuple[str, ...]) -> dict[str, Rounds]:
        figures = {}
        for scenario in scenarios:
            print(f"{name}: {scenario} ...", file=sys.stderr)
            measured = self._by_themselves if scenario in PAIRED else self._between_bare_ones
            figures[scenario] = measured([one for one in processes if one.knows(scenario)], scenario)
        return figures

    def _by_themselves(self, processes: list[Process], scenario: str) -> Rounds:
        rounds: Rounds = {process.name: [] for process in processes}
        for process in processes:
            process.measure(scenario, CALLS[scenario])
        for _ in range(max(1, self.rounds // 5)):
            for process in self.dice.sample(processes, len(processes)):
                rounds[process.name].append(process.measure(scenario, CALLS[scenario]))
        return rounds

    def _between_bare_ones(self, processes: list[Process], scenario: str) -> Rounds:
        """
        Give each block's figures in calls of the bare process just before and after; its own are in microseconds.
        """
        reference, *others = sorted(processes, key=lambda process: process.name != BARE)
        rounds: Rounds = {process.name: [] for process in processes}
        for process in processes:
            for _ in range(_WARM_BLOCKS):
                process.measure(scenario, CALLS[scenario])
        for _ in range(self.rounds):
            before = reference.measure(scenario, CALLS[scenario])
            for process in self.dice.sample(others, len(others)):
                figure = process.measure(scenario, CALLS[scenario])
                after = reference.measure(scenario, CALLS[scenario])
                call = (before["inline"] + after["inline"]) / 2
                rounds[process.name].append({kind: figure[kind] / call for kind in _KINDS})
                rounds[BARE].append(after)
                before = after
        return rounds


_WARM_BLOCKS = 6
"""Blocks until the interpreter has specialised what runs."""


def _over_processes(times: int, make: Callable[[], Session]) -> tuple[dict[str, dict[str, Figure]], dict[str, Any]]:
    """
    Measure so often, each time with new processes; give the means.
    """
    runs = []
    for time in range(times):
        print(f"processes {time + 1} of {times}", file=sys.stderr)
        runs.append(make().overheads())
    scenarios, versions = runs[0]
    figures = {
        scenario: {peer: _mean([run[scenario][peer] for run, _ in runs]) for peer in peers}
        for scenario, peers in scenarios.items()
    }
    return figures, versions


def _mean(figures: list[Figure]) -> Figure:
    return {kind: statistics.mean(each[kind] for each in figures) for kind in _KINDS}


def _added(bare: Rounds | None, instrumented: Rounds) -> dict[str, Figure]:
    """
    Give by how many bare calls a peer's grew, in microseconds of the bare call's median.
    """
    if bare is None:
        return {name: _median(rounds) for name, rounds in instrumented.items()}
    call = _median(bare[BARE] + instrumented[BARE])
    added = {BARE: call}
    for name in instrumented.keys() - {BARE}:
        before, after = _median(bare[name]), _median(instrumented[name])
        added[name] = {kind: (after[kind] - before[kind]) * call["inline"] for kind in _KINDS}
    return added


def _median(rounds: list[Figure]) -> Figure:
    return {kind: statistics.median(each[kind] for each in rounds) for kind in _KINDS}


def _with_slopes(figures: dict[str, dict[str, Figure]]) -> dict[str, dict[str, Figure]]:
    """
    Add what one more chunk costs: the difference between a long and a short stream.
    """
    slopes = {
        name: {peer: _slope(figures[short][peer], figures[long][peer]) for peer in figures[long]}
        for name, (short, long) in _SLOPES.items()
        if short in figures and long in figures
    }
    return figures | slopes


def _slope(short: Figure, long: Figure) -> Figure:
    return {kind: (long[kind] - short[kind]) / 450 for kind in _KINDS}


def _tables(figures: dict[str, dict[str, Figure]], peers: tuple[str, ...]) -> str:
    return "\n\n".join(_table(scenario, each, peers) for scenario, each in figures.items())


def _table(scenario: str, figures: dict[str, Figure], peers: tuple[str, ...]) -> str:
    digits = 2 if "chunk" in scenario or "not" in scenario else 1
    head = (scenario, "µs inline", "µs total", "/ floor", "/ genai", "total / genai")
    rows = []
    for peer in peers:
        if peer not in figures:
            continue
        mine = figures[peer]
        name = peer if peer != BARE else "(noise)" if scenario in PAIRED else "(the bare call)"
        ratios = ["-"] * 3 if peer == BARE else [_ratio(figures, peer, *base) for base in _BASES]
        rows.append([name, *(number(mine[kind], digits) for kind in _KINDS), *ratios])
    return render(head, rows)


_NOISE = 0.05
"""Microseconds below which there is nothing to divide by."""

_BASES = (("floor", "inline"), ("genai", "inline"), ("genai", "total"))


def _ratio(figures: dict[str, Figure], peer: str, other: str, kind: str) -> str:
    base = figures.get(f"{other}+content" if peer.endswith("+content") and other == "genai" else other)
    return number(figures[peer][kind] / base[kind], 2) if base and base[kind] > _NOISE else "-"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What instrumentation costs a call.")
    parser.add_argument("--quick", action="store_true", help="few rounds of a chat and a stream")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=DEFAULT_PEERS)
    parser.add_argument("--scenarios", nargs="+", choices=CALLS, default=tuple(CALLS))
    parser.add_argument("--rounds", type=int, default=24, help="of each process")
    parser.add_argument("--processes", type=int, default=3, help="of each peer, one after another")
    parser.add_argument("--no-unsampled", action="store_true", help="leave out the unsampled chat call")
    parser.add_argument("--out", type=Path, help="write the figures as JSON, too")
    return parser.parse_args()


def main() -> None:
    """
    Measure and print.
    """
    asked = _arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # for all the processes started here
    peers = tuple(dict.fromkeys((BARE, *asked.peers)))
    scenarios, rounds, times = tuple(asked.scenarios), asked.rounds, asked.processes
    if asked.quick:
        scenarios, rounds, times = ("chat", "stream of 50", "stream of 500", "not an LLM call"), 10, 2
    figures, versions = _over_processes(times, lambda: Session(peers, scenarios, rounds))
    if not asked.no_unsampled:
        chosen = tuple(peer for peer in peers if peer in UNSAMPLED_PEERS)
        variables = {"OTEL_TRACES_SAMPLER": "always_off"}
        unsampled, _ = _over_processes(times, lambda: Session(chosen, ("chat",), rounds, variables))
        figures["chat, unsampled"] = unsampled["chat"]
    figures = _with_slopes(figures)
    print(f"{machine()}; {times} processes of each, {rounds} rounds\n\n{_tables(figures, peers)}")
    if asked.out:
        asked.out.write_text(json.dumps({"machine": machine(), "versions": versions, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
