"""A blocking sink, run in a daemon thread of its own."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from otel_llm.delivery import native
from otel_llm.delivery.loop import suppress_instrumentation
from otel_llm.delivery.sink import Batch, BlockingSink, Receipt


class _Job(NamedTuple):
    work: Callable[[], Any]
    future: "asyncio.Future[Any]"


class ThreadedSink:
    """
    A `Sink` whose methods are those of a `BlockingSink`, called one after another in one thread that ends with `close`.
    """

    Options: ClassVar[type[Any]] = object

    def __init__(self, sink: BlockingSink) -> None:
        self._sink = sink
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
        try:
            await self._call(self._sink.close)
        finally:
            self._jobs.put(None)

    async def _call(self, work: Callable[[], Any]) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, future))
        return await future

    def _work(self) -> None:
        suppress_instrumentation()
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _do(self, job: _Job) -> None:
        if job.future.cancelled():
            return
        post = job.future.get_loop().call_soon_threadsafe
        try:
            result = job.work()
        except Exception as error:  # noqa: BLE001 - it is raised again where the courier waits
            post(_fail, job.future, error)
        else:
            post(_fulfil, job.future, result)


def _fulfil(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
