"""
The life of the process, in one place: what happens in a forked child, and at the end.

The exit has two hooks. The first runs when the main thread is done, while threads can still be started and names still
be resolved, also in the children of `multiprocessing`; the second after all other threads, as `atexit` does, and after
the OpenTelemetry providers that were made later than this module was imported: their last words still arrive. Ends
that have no exit hook call the first where they are announced (`endings`).
"""

import atexit
import concurrent.futures.thread  # noqa: F401 - its own exit hook must be registered before ours, to run after it
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType

from otel_llm.delivery import endings, native

_in_child: list[weakref.WeakMethod[Callable[[], None]]] = []
_before_end: list[weakref.WeakMethod[Callable[[], None]]] = []
_at_end: list[weakref.WeakMethod[Callable[[], None]]] = []


def on_fork(method: Callable[[], None]) -> None:
    """
    Call a bound method in every forked child, first thing; its object is not kept alive.
    """
    _add(_in_child, method)


def hold_at_fork(lock: "threading.RLock") -> None:
    """
    Let nobody fork in the middle of what a lock guards: the child would get it half done, and the lock held.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


class Undivided:
    """
    Work on other threads that nobody forks in the middle of: half an import would stay half in the child.

    Who forks waits until none is under way, but no longer than `seconds`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = native.new_lock()
        self._under_way = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._wait, after_in_parent=self._lock.release, after_in_child=self._begin_anew)

    def __enter__(self) -> None:
        with self._lock:
            self._under_way += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._under_way -= 1

    def _wait(self) -> None:
        """
        Take the lock when nothing is under way; what is has to take it, too, so it is given back meanwhile.
        """
        deadline = time.monotonic() + self._seconds
        self._lock.acquire()
        while self._under_way and time.monotonic() < deadline:
            self._lock.release()
            time.sleep(_POLL_SECONDS)
            self._lock.acquire()

    def _begin_anew(self) -> None:
        self._under_way = 0
        self._lock.release()


_POLL_SECONDS = 0.005


def on_exit(flush: Callable[[], None], finish: Callable[[], None]) -> None:
    """
    Call two bound methods at the end of the process; their objects are not kept alive.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with contextlib.suppress(RuntimeError):  # the process is ending already
            register(_weakly(flush))
    _add(_before_end, flush)
    _add(_at_end, finish)


def nothing_follows() -> bool:
    """
    Tell whether the first exit hook is the last: in a child of `multiprocessing` in which no other thread goes on.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return False
    return all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate())


def _add(methods: list[weakref.WeakMethod[Callable[[], None]]], method: Callable[[], None]) -> None:
    methods[:] = [reference for reference in methods if reference() is not None]
    methods.append(weakref.WeakMethod(method))


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    if not isinstance(method, MethodType):
        raise TypeError(f"{method!r} is no bound method")
    reference = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call


def _call_all(methods: Sequence[weakref.WeakMethod[Callable[[], None]]]) -> None:
    for reference in tuple(methods):
        method = reference()
        if method is not None:
            method()


def _end() -> None:
    _call_all(_at_end)
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
        _die_of_the_interrupt()


def _die_of_the_interrupt() -> None:
    """
    Let a process that Ctrl-C ended exit as such: Python forgets why as soon as anything is evaluated, by an import say.
    """
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102


atexit.register(_end)
endings.call_before(partial(_call_all, _before_end))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(_call_all, _in_child))
