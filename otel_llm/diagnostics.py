"""
What otel-llm says about itself: one logger, to stderr, never into anybody's telemetry.

The logger does not propagate, so that OpenTelemetry's logging handler cannot carry our own words into our sinks, and
the same sentence is written once a minute at most.
"""

import logging
import os
import sys
import time
from collections.abc import Iterable
from functools import cache
from typing import Final

from otel_llm.errors import Problem

NAME: Final = "otel_llm"
REPEAT_SECONDS: Final = 60.0


@cache
def logger() -> logging.Logger:
    """
    Give our logger, set up when it is first needed.
    """
    ours = logging.getLogger(NAME)
    ours.propagate = False
    ours.handlers = [_StderrHandler()]
    ours.setLevel(logging.getLevelNamesMapping().get(os.environ.get("OTEL_LLM_LOG_LEVEL", "").upper(), logging.WARNING))
    return ours


def set_level(level: str) -> None:
    """
    Say how much is written, by the name of the least level.
    """
    logger().setLevel(level.upper())


def report(problems: Iterable[Problem]) -> None:
    """
    Write each problem, once per process.
    """
    for problem in problems:
        warn_once(str(problem), str(problem))


def warn_once(key: str, message: str) -> None:
    """
    Write a warning unless one with the same key has been written before.
    """
    if key not in _warned:
        _warned.add(key)
        logger().warning(message)


_warned: Final[set[str]] = set()


class _StderrHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("otel-llm %(levelname)s: %(message)s"))
        self.addFilter(_Repeats())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201 - stderr as it is now, not at set-up
        except (OSError, ValueError):  # closed, by a daemon or at exit: nobody is left to read
            return


class _Repeats(logging.Filter):
    """Lets a sentence pass once in `REPEAT_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, message = time.monotonic(), record.getMessage()
        if now - self.written.get(message, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        if len(self.written) >= _MOST_REMEMBERED:
            self.written.clear()
        self.written[message] = now
        return True


_MOST_REMEMBERED: Final = 500
