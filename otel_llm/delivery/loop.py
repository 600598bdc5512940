"""
The one event loop of this process that is ours, in a daemon thread.

Everything in it runs with OpenTelemetry's instrumentation suppressed: what a sink sends is nobody's telemetry. Its
executor has daemon threads started in advance, so that names can be resolved while the interpreter shuts down.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_llm.delivery import native, process
from otel_llm.delivery.diagnosis import facts

logger = logging.getLogger(__name__)

T = TypeVar("T")

POOL_THREADS = 4
"""Started in advance: at its end the interpreter starts no more."""
MOST_POOL_THREADS = 32


def suppress_instrumentation() -> None:
    """
    Tell OpenTelemetry and its instrumentations to leave the calls of this thread alone.
    """
    suppressed = context.set_value("suppress_instrumentation", True)
    context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, suppressed))


class DaemonPool(concurrent.futures.ThreadPoolExecutor):
    """
    An executor that works until the very end: its first threads exist from the start, and none is joined.

    When all are busy, as with a name server that does not answer, another one is started: who waits for one sink's
    server must not hold up the others.
    """

    def __init__(self, threads: int, most: int = MOST_POOL_THREADS) -> None:
        super().__init__(max_workers=most)
        self._most = most
        self._started = 0
        self._free = 0
        self._counting = threading.Lock()
        self._jobs: native.SimpleQueue[Callable[[], None]] = native.SimpleQueue()
        for _ in range(threads):
            self._start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        with self._counting:
            self._free -= 1
            crowded = self._free < 0 and self._started < self._most
        if crowded:
            with contextlib.suppress(RuntimeError):  # no more threads: it waits for one of the others
                self._start()
        self._jobs.put(lambda: _fulfil(future, lambda: fn(*args, **kwargs)))
        return future

    def _start(self) -> None:
        native.start_thread(self._work, f"otel-llm-pool-{self._started}")
        with self._counting:
            self._started += 1
            self._free += 1

    def _work(self) -> None:
        suppress_instrumentation()
        while True:
            self._jobs.get()()
            with self._counting:
                self._free += 1


class LoopThread:
    """
    An event loop in a daemon thread, with the doors through which other threads come in.
    """

    def __init__(self) -> None:
        # The loop and callbacks from outside would otherwise keep the context of the application's call they came in.
        self._context = contextvars.Context()
        self._context.run(suppress_instrumentation)
        # First the threads: it is they that may be refused, and a loop would be left open.
        pool = DaemonPool(POOL_THREADS)
        self.loop = self._context.run(native.new_event_loop)
        self.loop.set_default_executor(pool)
        self.loop.set_exception_handler(_report)
        native.start_thread(self._run, "otel-llm")

    def post(self, callback: Callable[..., object], *args: object) -> None:
        """
        Call something in the loop, soon; returns at once.
        """
        self.loop.call_soon_threadsafe(callback, *args, context=self._context)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        """
        Wait for a coroutine's result in another thread; raises `TimeoutError` and cancels it when that takes too long.
        """
        if asyncio._get_running_loop() is self.loop:  # noqa: SLF001 - it asks for this thread's, and never raises
            coroutine.close()
            raise RuntimeError("the delivery loop cannot wait for itself")
        future: Future[T] = Future()
        self.post(self._start, coroutine, future)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def _start(self, coroutine: Coroutine[Any, Any, T], future: "Future[T]") -> None:
        task = self.loop.create_task(coroutine)

        def hand_over(done: asyncio.Task[T]) -> None:
            if done.cancelled() or future.cancelled():
                future.cancel()
            elif (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        task.add_done_callback(hand_over)
        future.add_done_callback(lambda result: self.post(task.cancel) if result.cancelled() else None)

    def _run(self) -> None:
        suppress_instrumentation()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


class _Background:
    """
    Holds the process's loop thread, and forgets the parent's in a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._left_behind: list[LoopThread | None] = []
        process.on_fork(self.after_fork)

    def get(self) -> LoopThread:
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread

    def after_fork(self) -> None:
        # Never closed, never collected: the parent's loop shares its selector with us.
        self._left_behind.append(self._thread)
        self._lock = threading.Lock()
        self._thread = None


def background() -> LoopThread:
    """
    Give the loop thread of this process; raises `RuntimeError` when no thread can be started any more.
    """
    return _background.get()


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Say that something failed in the background of a sink, without its words, which asyncio would print.
    """
    error = context.get("exception")
    told = facts(error) if isinstance(error, BaseException) else context.get("message")
    logger.warning("something failed in the background of a sink: %s", told)


def _fulfil(future: "Future[T]", work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - an executor hands every exception to who waits
        future.set_exception(error)


_background = _Background()
