"""Keeps our records and tokens out of an application's debug log, where botocore writes whole requests."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

LOGGERS: Final = ("botocore.auth", "botocore.endpoint")
"""Those that write headers or bodies."""

_silent: ContextVar[bool] = ContextVar("otel_llm_kinesis_silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """
    Let botocore not log what is sent inside; what others send at the same time is logged as ever.
    """
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def _is_loud(_: logging.LogRecord) -> bool:
    return not _silent.get()


for name in LOGGERS:
    logging.getLogger(name).addFilter(_is_loud)
