"""
One peer in a process of its own: told on standard input what to do, it answers on standard output, in JSON lines.
"""

import importlib.metadata
import json
import os
import statistics
import sys
import time
from typing import Any

from calibration import Timing, calls_per_block, timed
from peers import PEERS, Peer
from scenarios import SCENARIOS, Run

_PACKAGES = (
    "openai",
    "anthropic",
    "httpx2",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-genai-anthropic",
    "langfuse",
    "otel-llm",
)


class Worker:
    """
    Measures scenarios, first without the peer, then with it.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._nobody = Peer()
        self._at_work = self._nobody
        self._runs: dict[str, Run] = {}

    def switch_on(self) -> None:
        """
        Install the peer; from now on clients are made anew.
        """
        self._peer.switch_on()
        self._at_work = self._peer
        self._runs.clear()

    def measure(self, name: str, calls: int) -> dict[str, float]:
        """
        Give the CPU microseconds per call over so many calls.
        """
        scenario = SCENARIOS[name]
        if name not in self._runs:
            self._runs[name] = scenario.make(self._at_work.clients())
        run = self._runs[name]
        if scenario.bare is not None:
            return self._beside_bare_ones(run, scenario.bare(), calls)
        run(max(1, calls // 6))  # other processes have had the core's caches
        self._at_work.flush()  # what those leave to be done is not these calls' doing
        thread, process = time.thread_time(), time.process_time()
        run(calls)
        thread = time.thread_time() - thread
        self._at_work.flush()
        process = time.process_time() - process
        return {"inline": thread * 1e6 / calls, "total": process * 1e6 / calls}

    def _beside_bare_ones(self, run: Run, bare: Run, calls: int) -> dict[str, float]:
        """
        Take turns with the bare call, block by block; what other threads do and what flushing costs is added.
        """
        block = min(calls_per_block(run), calls)
        timings = [_difference(timed(run, block), timed(bare, block)) for _ in range(calls // block)]
        inline = statistics.median(timing.inline for timing in timings)
        beside = statistics.mean(timing.total - timing.inline for timing in timings)
        flushed = timed(lambda _: self._at_work.flush(), calls).total
        return {"inline": inline, "total": inline + beside + flushed}


def _difference(one: Timing, other: Timing) -> Timing:
    return Timing(one.inline - other.inline, one.total - other.total)


def _versions() -> dict[str, str]:
    installed = {found.name: found.version for found in importlib.metadata.distributions()}
    return {name: installed[name] for name in _PACKAGES if name in installed}


def main() -> None:
    """
    Serve until standard input ends.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(PEERS[sys.argv[1]]())
    print(json.dumps({"versions": _versions()}), file=answers)
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        answer = worker.measure(order["scenario"], order["calls"]) if "scenario" in order else worker.switch_on()
        print(json.dumps(answer or {}), file=answers)
    answers.flush()
    os._exit(0)  # what a peer's threads still wait for is not measured


if __name__ == "__main__":
    main()
