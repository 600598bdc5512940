"""
The thread that finishes what nobody ends: answers that the garbage collector found, or that are open at the exit.
"""

import contextlib
import gc
import os
import queue
import threading
from threading import get_ident
from typing import Final, Protocol
from weakref import WeakValueDictionary

from otel_llm.capture.exchange import End

_DRAIN_SECONDS: Final = 1.0


class Endable(Protocol):
    """
    What can be told that it ended.
    """

    def ended(self, end: End) -> None:
        """
        Finish, once.
        """

    def disowned(self) -> None:
        """
        Never finish: that is for the parent of this process to do.
        """


class Reaper:
    """
    Finishes the calls whose streams nobody ends: those the garbage collector found, and those open at the exit.
    """

    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._begin()

    def forget(self) -> None:
        """
        Begin anew, in a forked child: what was open belongs to the parent, which records it.
        """
        for sending in self._still_open():
            sending.disowned()
        self._begin()

    def watch(self, sending: Endable) -> None:
        """
        Keep an eye on an open answer, and see that the thread runs, also in a forked child.
        """
        self._open[id(sending)] = sending
        if self._thread is None or not self._thread.is_alive():
            self._renew_queue()
            self._thread = threading.Thread(target=self._run, name="otel-llm-reaper", daemon=True)
            with contextlib.suppress(RuntimeError):  # at its end Python 3.12 starts no more threads
                self._thread.start()

    def put(self, sending: Endable) -> None:
        """
        Hand over a call; takes no lock (`SimpleQueue.put` is reentrant), so a finaliser may do it.
        """
        self._dropped.put(sending)

    def drain(self) -> None:
        """
        Wait until what was handed over so far is finished; where the thread does not run, do its work.
        """
        if self._thread is not None and self._thread.is_alive():
            mark = _Mark()
            self._dropped.put(mark)
            mark.reached.wait(_DRAIN_SECONDS)
        while True:
            try:
                self._dropped.get_nowait().ended("closed")
            except queue.Empty:
                return

    def end_all(self) -> None:
        """
        Finish every answer that is still open, now that the process ends.
        """
        self.drain()
        for sending in self._still_open():
            sending.ended("closed")

    def _begin(self) -> None:
        self._open: WeakValueDictionary[int, Endable] = WeakValueDictionary()
        self._dropped: queue.SimpleQueue[Endable | _Mark] = queue.SimpleQueue()
        self._thread = None

    def _renew_queue(self) -> None:
        """
        Exchange the queue if gevent patched the standard library since: waiting for the old one stops all greenlets.
        """
        old = self._dropped
        if type(old) is not queue.SimpleQueue:
            self._dropped = queue.SimpleQueue()
            while not old.empty():
                self._dropped.put(old.get_nowait())

    def _still_open(self) -> list[Endable]:
        # `valuerefs` is one step: other threads may open answers meanwhile.
        found = (reference() for reference in self._open.valuerefs())
        return [sending for sending in found if sending is not None]

    def _run(self) -> None:
        while True:
            self._dropped.get().ended("closed")


class _Mark:
    """
    Stands in the queue: when it is reached, all before it is finished.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()

    def ended(self, _end: End) -> None:
        self.reached.set()


reaper = Reaper()
"""One for all observers of a process, so that switching on and off leaves no thread behind each time."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reaper.forget)


def collecting() -> bool:
    """
    Tell whether this runs inside the garbage collector, where no lock may be taken.
    """
    return _collecting == {get_ident()}


_collecting: set[int] = set()
"""The thread in which the garbage collector runs: at any moment, hence under any lock, and there only."""


def _note_collection(phase: str, _facts: object) -> None:
    if phase == "start":
        _collecting.add(get_ident())
    else:
        _collecting.clear()


gc.callbacks.append(_note_collection)
