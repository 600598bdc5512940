"""
The one place that promises: the user's call is never broken.

What goes wrong in our own code is reported once, and changes nothing for the user.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from otel_llm.diagnostics import report_failure

P = ParamSpec("P")
R = TypeVar("R")


def harmless(function: Callable[P, R]) -> Callable[P, R | None]:
    """
    Keep what goes wrong inside `function` away from the user's call: it gives None and one line in our own log.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the promise of this module
            report_failure(function.__qualname__, error)
            return None

    return guarded
