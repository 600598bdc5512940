"""
One piece of code for sync and async clients: a coroutine function that takes either kind.
"""

import asyncio
import gc
import inspect
import itertools
from contextlib import asynccontextmanager
from typing import Any


def drive(coroutine: Any, *, asynchronous: bool) -> Any:
    """
    Run a call: in an event loop, or, with a sync client, without one.
    """
    if asynchronous:
        return asyncio.run(coroutine)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a sync client has nothing to wait for")


async def value(result: Any) -> Any:
    """
    Give what a sync method returned, or an async one will.
    """
    return await result if inspect.isawaitable(result) else result


async def items(stream: Any) -> list[Any]:
    """
    Read a stream to its end.
    """
    stream = await value(stream)
    return [item async for item in stream] if hasattr(stream, "__aiter__") else list(stream)


async def first(stream: Any, count: int = 1) -> list[Any]:
    """
    Read the first items of a stream and leave it there.
    """
    if not hasattr(stream, "__aiter__"):
        return list(itertools.islice(iter(stream), count))
    found = []
    async for item in stream:
        found.append(item)
        if len(found) == count:
            break
    return found


@asynccontextmanager
async def opened(manager: Any) -> Any:
    """
    Enter a context manager of either kind.
    """
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


async def closed(stream: Any) -> None:
    """
    Close a stream of either kind.
    """
    await value(stream.close())


async def collected(client: Any) -> None:
    """
    Let the garbage collector find what was dropped, and the event loop finish it.
    """
    for _ in range(2):
        gc.collect()
        if type(client).__name__.startswith("Async"):
            await asyncio.sleep(0.01)
