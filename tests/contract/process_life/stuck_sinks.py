"""
Sinks that do not do what they are asked to, and one that needs the network to the very end.
"""

import asyncio
import os
import time
from pathlib import Path

from otel_llm import Batch, BlockingSink, Receipt
from otel_llm.testing.sink import RecordingOptions, RecordingSink


class Dead:
    """
    Cannot be reached.
    """

    Options = RecordingOptions

    def __init__(self, options: RecordingOptions) -> None:
        self.options = options

    async def open(self) -> None:
        raise ConnectionRefusedError("nobody is there")

    async def send(self, batch: Batch) -> Receipt:
        raise AssertionError(batch)

    async def close(self) -> None:
        return


class Silent(Dead):
    """
    Never answers; makes a file when it is asked.
    """

    async def open(self) -> None:
        return

    async def send(self, batch: Batch) -> Receipt:
        if self.options.path:
            Path(self.options.path).touch()  # noqa: ASYNC240 - empty
        await asyncio.Event().wait()
        raise AssertionError(batch)


class Stubborn(Silent):
    """
    Never answers, and does not let itself be cancelled.
    """

    async def send(self, _batch: Batch) -> Receipt:
        await self.close()
        raise AssertionError(_batch)

    async def close(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue


class Blocking(BlockingSink):
    """
    Blocks its thread for good.
    """

    Options = RecordingOptions

    def __init__(self, options: RecordingOptions) -> None:
        self.options = options

    def open(self) -> None:
        return

    def send(self, _batch: Batch) -> Receipt:
        self.close()
        raise AssertionError(_batch)

    def close(self) -> None:
        while True:
            time.sleep(60)


class Rude(Silent):
    """
    Blocks the thread of the event loop, which no asynchronous sink may do.
    """

    async def send(self, _batch: Batch) -> Receipt:
        while True:
            time.sleep(60)  # noqa: ASYNC251 - that is the fault


class Parting(RecordingSink):
    """
    Says goodbye when it is let go of, as clients do that hold a connection.
    """

    def __del__(self) -> None:
        with Path("goodbyes").open("a") as file:
            file.write(f"{os.getpid()}\n")


class Resolving(RecordingSink):
    """
    Asks for the address of a name before it writes, which asyncio does in a thread.
    """

    async def send(self, batch: Batch) -> Receipt:
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        return await super().send(batch)
