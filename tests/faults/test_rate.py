"""5,000 records a second for a minute, and many threads and tasks at once: nothing lost, order kept, memory flat."""

import asyncio
import contextlib
import json
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from otel_llm.delivery.sink import Batch, Receipt
from otel_llm.telemetry.event import Event, new_event_id
from tests.faults import rate_program
from tests.faults.receiver import Receiver
from tests.faults.tcp_proxy import TcpProxy

RATE, SECONDS = 5000, 60
TOTAL = RATE * SECONDS
GROWTH_MIB = 8


class TestRate:
    @pytest.mark.slow
    def test_sqlite(self, tmp_path):
        """Into a database: every record once, and the memory of the first seconds is the memory of the last."""
        path = tmp_path / "calls.db"
        told = _run(tmp_path, sink="sqlite", path=str(path))
        with contextlib.closing(sqlite3.connect(path)) as database:
            rows, ids = database.execute("SELECT count(*), count(DISTINCT event_id) FROM llm_calls").fetchone()
        assert (rows, ids) == (TOTAL, TOTAL)
        _check(told)

    @pytest.mark.slow
    def test_server(self, tmp_path):
        """The same into a server on this machine."""
        with Receiver(time.monotonic) as receiver:
            told = _run(tmp_path, sink="webhook", port=receiver.port)
        assert receiver.first_numbers == list(range(TOTAL))
        assert len(set(receiver.ids)) == TOTAL
        _check(told)

    @pytest.mark.slow
    def test_outage(self, tmp_path):
        """The same with a server that is away for twenty seconds of it, and comes back while all goes on."""
        with Receiver(time.monotonic) as receiver, TcpProxy(receiver.port) as proxy:
            away = [threading.Timer(15, proxy.behave, ("refuse",)), threading.Timer(35, proxy.behave, ("pass",))]
            for timer in away:
                timer.start()
            told = _run(tmp_path, sink="webhook", port=proxy.port)
        assert receiver.first_numbers == list(range(TOTAL))
        assert len(set(receiver.ids)) == TOTAL
        _check(told)


class Collecting:
    """Keeps who emitted what, in the order in which it came."""

    Options = object

    def __init__(self) -> None:
        self.came: list[tuple[str, int]] = []

    async def open(self) -> None:
        pass

    async def send(self, batch: Batch) -> Receipt:
        await asyncio.sleep(0)
        self.came += [(record.event.get("who"), record.event.get("number")) for record in batch.records]
        return Receipt.delivered()

    async def close(self) -> None:
        pass

    def by_emitter(self) -> dict[str, list[int]]:
        """
        Give the numbers of each emitter, in the order in which they came.
        """
        found: dict[str, list[int]] = {}
        for who, number in self.came:
            found.setdefault(who, []).append(number)
        return found


class TestManyAtOnce:
    def test_threads(self, deliver):
        """32 threads emit together: nothing is lost, and each one's records come in its order."""
        sink = Collecting()
        books = deliver({"batch_size": 100}, sink=sink)
        ready = threading.Barrier(32)

        def emit(who: str) -> None:
            ready.wait(10)
            for number in range(200):
                _append(books, who, number)

        threads = [threading.Thread(target=emit, args=(f"thread {number}",)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        books.emitted = 32 * 200
        books.all_arrived()
        assert sink.by_emitter() == {f"thread {number}": list(range(200)) for number in range(32)}

    def test_tasks(self, deliver):
        """1,000 tasks of one event loop emit in turns: the same."""
        sink = Collecting()
        books = deliver({"batch_size": 100}, sink=sink)

        async def emit(who: str) -> None:
            for number in range(8):
                _append(books, who, number)
                await asyncio.sleep(0)

        async def application() -> None:
            await asyncio.gather(*(emit(f"task {number}") for number in range(1000)))

        asyncio.run(application())
        books.emitted = 8000
        books.all_arrived()
        assert sink.by_emitter() == {f"task {number}": list(range(8)) for number in range(1000)}

    def test_several_workers(self, deliver):
        """With several workers order is not promised, completeness is."""
        sink = Collecting()
        books = deliver({"batch_size": 10, "async_workers": 8}, sink=sink)
        for number in range(5000):
            _append(books, "main", number)
        books.emitted = 5000
        books.all_arrived()
        assert sorted(sink.by_emitter()["main"]) == list(range(5000))


def _append(books, who: str, number: int) -> None:
    now = time.time_ns()
    assert books.delivery.append(Event(new_event_id(), "test", now, now, 9, "INFO", {"who": who, "number": number}))


def _run(tmp_path: Path, **order) -> dict:
    order |= {"rate": RATE, "seconds": SECONDS, "journal": str(tmp_path / "journal")}
    program = [sys.executable, rate_program.__file__, json.dumps(order)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS + 90, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _check(told: dict) -> None:
    stats, curve = told["stats"], told["rss_mib"]
    figures = {name: told[name] for name in ("cpu_seconds", "worst_lag", "flush_seconds")}
    sys.stdout.write(f"\nRSS in MiB, each second and after the flush: {curve}\n{figures}\n")
    assert told["flushed"]
    assert (stats["events_produced"], stats["events_sent"], stats["pending_events"]) == (TOTAL, TOTAL, 0)
    assert (stats["events_dropped"], stats["dead"]) == ({}, 0)
    assert statistics.median(curve[-10:]) - statistics.median(curve[5:15]) < GROWTH_MIB
