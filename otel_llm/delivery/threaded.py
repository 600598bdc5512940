"""A blocking sink, run in a daemon thread of its own."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from otel_llm.delivery import native
from otel_llm.delivery.loop import suppress_instrumentation
from otel_llm.delivery.sink import Batch, BlockingSink, Receipt
from otel_llm.delivery.timed import STILL_HANGS, no_longer_than
from otel_llm.errors import NotDelivered


class _Job(NamedTuple):
    work: Callable[[], Any]
    future: "asyncio.Future[Any]"


class ThreadedSink:
    """
    A `Sink` whose methods are those of a `BlockingSink`, called one after another in one thread that ends with `close`.

    A call that takes longer than `seconds` is given up; its thread cannot be, it is `busy` until it comes back.
    """

    Options: ClassVar[type[Any]] = object

    def __init__(self, sink: BlockingSink, seconds: float) -> None:
        self.busy = False
        self._sink = sink
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._jobs: native.SimpleQueue[_Job | None] = native.SimpleQueue()
        try:
            native.start_thread(self._work, f"otel-llm-{type(sink).__name__}")
        except RuntimeError:  # at its end Python 3.12 starts no more threads; one of the pool's is there
            asyncio.get_running_loop().run_in_executor(None, self._work)

    async def open(self) -> None:
        await self._call(self._sink.open)

    async def send(self, batch: Batch) -> Receipt:
        receipt: Receipt = await self._call(lambda: self._sink.send(batch))
        return receipt

    async def close(self) -> None:
        closed = self._put(self._sink.close)
        self._jobs.put(None)
        await closed

    def abandon(self) -> None:
        """
        Close the sink when its thread comes back, and wait for neither.
        """
        self._put(self._sink.close).add_done_callback(lambda closed: closed.cancelled() or closed.exception())
        self._jobs.put(None)

    async def _call(self, work: Callable[[], Any]) -> Any:
        async with self._turn:
            if self.busy:
                raise NotDelivered(STILL_HANGS)
            self.busy = True
            async with no_longer_than(self._seconds):
                return await self._put(work)

    def _put(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, future))
        return future

    def _work(self) -> None:
        suppress_instrumentation()
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _do(self, job: _Job) -> None:
        post = job.future.get_loop().call_soon_threadsafe
        try:
            result = job.work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the courier waits
            post(self._fail, job.future, error)
        else:
            post(self._fulfil, job.future, result)

    def _fulfil(self, future: "asyncio.Future[Any]", result: object) -> None:
        self.busy = False
        if not future.done():
            future.set_result(result)

    def _fail(self, future: "asyncio.Future[Any]", error: BaseException) -> None:
        self.busy = False
        if not future.done():
            future.set_exception(_harmless(error))


def _harmless(error: BaseException) -> Exception:
    """
    Give what a future can carry, and what does not end the event loop.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    stopped = NotDelivered(f"the sink raised {type(error).__name__}")
    stopped.__cause__ = error
    return stopped
