"""
CPU time that can be compared on a machine that others use, too.

The clock of a shared core swings by half: neighbours take its caches and its other hyper-thread. So every block is
timed together with a fixed workload just before and after it, and counted in units of that.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

REFERENCE_US = 225.0
"""What the fixed workload takes on an idle core of the machine that the first figures came from."""

BLOCK_SECONDS = 0.008
"""Short enough that the workload beside it sees the same machine."""


class Timing(NamedTuple):
    """
    Calibrated microseconds of CPU per call.
    """

    inline: float
    """On the caller's thread."""
    total: float
    """On all threads of the process."""


class _Item:
    __slots__ = ("name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name


def pace() -> float:
    """
    Give the CPU microseconds that the fixed workload takes right now.
    """
    started = time.thread_time()
    _workload()
    return (time.thread_time() - started) * 1e6


def timed(run: Callable[[int], None], calls: int) -> Timing:
    """
    Run so many calls once and time them.
    """
    before = pace()
    thread, process = time.thread_time(), time.process_time()
    run(calls)
    thread, process = time.thread_time() - thread, time.process_time() - process
    scale = 1e6 / calls * REFERENCE_US * 2 / (before + pace())
    return Timing(thread * scale, process * scale)


def calls_per_block(run: Callable[[int], None]) -> int:
    """
    Give how many calls fill a block.
    """
    run(1)
    return max(1, round(BLOCK_SECONDS * 1e6 / max(timed(run, 3).total, 0.05)))


def _workload() -> int:
    """
    Do what Python programs do: attributes, dictionaries, formatting, calls, encoding.
    """
    items: dict[str, _Item] = {}
    encoded = []
    for number in range(700):
        name = f"item {number & 127}"
        items[name] = item = _Item(number, name)
        if _sum(item.number, 2) > 0:
            encoded.append(item.name.encode())
    return len(b"".join(encoded)) + len(items)


def _sum(first: int, second: int) -> int:
    return first + second
