"""
Starts one process after another, each to be killed: `python kill_program.py PORT FOLDER`.

Each line of stdin is an errand, a durability and a number. It is run by a fork of this process, where all is imported
and nothing started; its process id and, when it has ended, its status go to stdout. Records are emitted by
OpenTelemetry's logger, and their numbers written down once `emit` has returned.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from opentelemetry._logs import get_logger

import otel_llm
from otel_llm import pipeline
from otel_llm.telemetry.event import EVENT_NAME

PER_WRITER = 1_000_000
BUFFER = 300
SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class HomeOptions:
    """
    Where the test listens.
    """

    port: int


class HomeSink:
    """
    Sends the numbers and ids of a batch to the test, and waits until it says that it has them.
    """

    Options = HomeOptions

    def __init__(self, options):
        self.port = options.port
        self.writer = None

    async def open(self):
        await self.close()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, batch):
        told = [(record.event.get("test.number"), record.event.id) for record in batch.records]
        self.writer.write(json.dumps(told).encode() + b"\n")
        if not await self.reader.readline():
            raise ConnectionError("the test hung up")
        return otel_llm.Receipt.delivered()

    async def close(self):
        if self.writer is not None:
            self.writer.close()


def offer(folder):
    """
    Make the sink known as an installed package would.
    """
    package = folder / "home_sink-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: home-sink\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[otel_llm_sink]\nhome = kill_program:HomeSink\n")
    sys.path.append(str(folder))


def switch_on(port, folder, durability):
    """
    Start as an application would.
    """
    otel_llm.configure(
        {"home": {"port": port}},
        journal_dir=str(folder / "journal"),
        durability=durability,
        buffer_size=BUFFER,
        flush_interval_ms=10,
        batch_size=20,
        exit_timeout_ms=500,
    )


def write(folder, numbers):
    """
    Emit; now and then a record is large, and now and then there is a pause in which couriers work.
    """
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    logger, dice = get_logger("test"), random.Random()
    for number in numbers:
        text = "x" * dice.choice((0, 10, 500, 8000))
        logger.emit(event_name=EVENT_NAME, attributes={"test.number": number, "test.text": text})
        # As wide as divides a page: who is killed in the middle of a write leaves the part before the next page.
        os.write(acknowledged, b"%015d\n" % number)
        if dice.random() < 0.3:
            time.sleep(0.001)


def drain(folder):
    """
    Deliver until nothing is left of the journals of dead processes.
    """
    pipeline.current().delivery.start()
    deadline = time.monotonic() + SECONDS
    while any((folder / "journal").glob("*/[0-9]*/*.segment")):
        if time.monotonic() > deadline:
            raise TimeoutError("some records stay")
        time.sleep(0.02)


def run(errand, folder, first):
    """
    Do an errand: `write` without an end, `finish` after as many records as memory holds, `drain`.
    """
    if errand == "write":
        write(folder, count(first))
    elif errand == "finish":
        write(folder, range(first, first + BUFFER))
    else:
        drain(folder)


def tell(number):
    """
    Say a number to the test.
    """
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main():
    """
    Run the errands.
    """
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    offer(folder)
    switch_on(port, folder, "process")
    otel_llm.shutdown()
    for line in sys.stdin:
        errand, durability, number = line.split()
        child = os.fork()
        if not child:
            switch_on(port, folder, durability)
            run(errand, folder, int(number) * PER_WRITER)
            return
        tell(child)
        tell(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
