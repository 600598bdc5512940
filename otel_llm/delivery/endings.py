"""
Ends of a process that Python's exit hooks do not see, but that are announced.

A Celery child leaves by `os._exit` after `worker_process_shutdown`; uvicorn, when it has shut down, raises the signal
that asked for it once more, which ends the process on the spot.
"""

import asyncio
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook

from otel_llm.capture.harmless import harmless


def call_before(flush: Callable[[], None]) -> None:
    """
    Call a function before every such end, now or as soon as the library that brings it is imported.
    """
    for module, hook in _HOOKS.items():
        register_post_import_hook(functools.partial(hook, harmless(flush)), module)


@harmless
def _celery(flush: Callable[[], None], signals: ModuleType) -> None:
    signals.worker_process_shutdown.connect(lambda **_facts: flush(), weak=False)


@harmless
def _uvicorn(flush: Callable[[], None], module: ModuleType) -> None:
    shutdown = module.Server.shutdown

    @functools.wraps(shutdown)
    async def shut_down(*args: Any, **more: Any) -> None:
        await shutdown(*args, **more)
        await asyncio.to_thread(flush)

    module.Server.shutdown = shut_down


_HOOKS = {"celery.signals": _celery, "uvicorn.server": _uvicorn}
