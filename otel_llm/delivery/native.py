"""
Threads of the operating system and an event loop in one, also where gevent has patched the standard library.

Under gevent a thread is a greenlet, and an event loop in one would make the application's own `asyncio.run()` fail.
For our threads, what gevent replaced is asked back.
"""

import asyncio
import selectors
import sys
import threading
from _queue import SimpleQueue
from collections.abc import Callable
from typing import Any

__all__ = ["SimpleQueue", "new_event_loop", "new_lock", "start_thread"]


def start_thread(work: Callable[[], None], name: str) -> None:
    """
    Run a function in a daemon thread.
    """
    start = _original("_thread", "start_new_thread")
    if start is None:
        threading.Thread(target=work, name=name, daemon=True).start()
    else:
        start(work, ())


def new_lock() -> "threading.RLock":
    """
    Give a lock for greenlets and our threads alike: who waits for one of gevent's may wait for ever.

    All greenlets of a thread count as one owner, so none may give way to another while it holds the lock.
    """
    lock: threading.RLock = (_original("_thread", "RLock") or threading.RLock)()
    return lock


def new_event_loop() -> asyncio.AbstractEventLoop:
    """
    Give an event loop that waits as the operating system does.
    """
    poll = _original("select", "poll")
    return asyncio.new_event_loop() if poll is None else asyncio.SelectorEventLoop(_PollSelector(poll))


def _original(module: str, name: str) -> Any:
    """
    Give what gevent replaced; None where it replaced nothing.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return None
    return monkey.get_original(module, name)


class _PollSelector(selectors._BaseSelectorImpl):  # noqa: SLF001
    """
    A selector on top of the given `poll`: gevent takes the standard ones away.
    """

    _READ, _WRITE = 0x001, 0x004

    def __init__(self, poll: Callable[[], Any]) -> None:
        super().__init__()
        self._poll = poll()

    def register(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        key: selectors.SelectorKey = super().register(fileobj, events, data)
        self._poll.register(key.fd, self._flags(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key: selectors.SelectorKey = super().unregister(fileobj)
        self._poll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: object = None) -> selectors.SelectorKey:
        self.unregister(fileobj)
        return self.register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        milliseconds = None if timeout is None else max(0, -int(-timeout * 1000 // 1))
        return [found for fd, flags in self._poll.poll(milliseconds) if (found := self._found(fd, flags)) is not None]

    def _found(self, fd: int, flags: int) -> tuple[selectors.SelectorKey, int] | None:
        key = self.get_map().get(fd)
        if key is None:
            return None
        events = (selectors.EVENT_WRITE if flags & ~self._READ else 0) | (
            selectors.EVENT_READ if flags & ~self._WRITE else 0
        )
        return key, events & key.events

    def _flags(self, events: int) -> int:
        return (self._READ if events & selectors.EVENT_READ else 0) | (
            self._WRITE if events & selectors.EVENT_WRITE else 0
        )
