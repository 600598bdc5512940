"""
What otel-llm says about itself: one logger, to stderr, never into anybody's telemetry.

The logger does not propagate, so that OpenTelemetry's logging handler cannot carry our own words into our sinks, and
the same sentence is written once a minute at most.
"""

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable
from functools import cache
from pathlib import Path
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


def report_failure(where: str, error: BaseException) -> None:
    """
    Write, once for each place, that our own code failed; the error's words stay out, as they may hold user data.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    warn_once(f"failure {where}{place}", f"{where} failed with {type(error).__name__}{place}; the call is not affected")


_warned: Final[set[str]] = set()


class _StderrHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("otel-llm %(levelname)s: %(message)s"))
        self.addFilter(_Repeats())

    def emit(self, record: logging.LogRecord) -> None:
        stderr = sys.stderr  # as it is now, not as it was at set-up; None in a process without a console
        if stderr is None:
            return
        with contextlib.suppress(OSError, ValueError):  # closed, by a daemon or at exit: nobody is left to read
            stderr.write(f"{self.format(record)}\n")
            stderr.flush()


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
