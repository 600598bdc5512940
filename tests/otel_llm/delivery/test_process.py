"""What survives the ways in which a process ends: each test runs real processes that write into SQLite."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

PROGRAM = """
import os, sys, signal, threading, time, multiprocessing, socket
from functools import partial
from pathlib import Path
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.telemetry.event import Event, new_event_id
from otel_llm_exporters.sqlite import SqliteOptions, SqliteSink

folder = Path(sys.argv[1])

def sqlite():
    return SqliteSink(SqliteOptions(path=str(folder / "calls.db")))

class Hanging(SqliteSink):
    def send(self, batch):
        time.sleep(60)

def make(sink=sqlite, **changes):
    settings = DeliverySettings(journal_dir=folder / "journal", flush_interval_ms=20, **changes)
    return Delivery(sinks=[SinkSpec(name="sqlite", make=sink, encoder=lambda event: b"{}")], settings=settings)

def event(number):
    now = time.time_ns()
    return Event(new_event_id(), "test", now, now, 9, "INFO", {"gen_ai.usage.input_tokens": number})

def emit(delivery, first, count):
    for number in range(first, first + count):
        assert delivery.append(event(number))

"""


@pytest.fixture
def run(tmp_path):
    """
    Give a function that runs a program on top of `PROGRAM` and gives what it printed.
    """

    def start(body: str, *, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM + body, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    return start


@pytest.fixture
def stored(tmp_path):
    """
    Give a function that reads the numbers which arrived in SQLite.
    """

    def read() -> list[int]:
        path = tmp_path / "calls.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path)) as connection:
            return [number for (number,) in connection.execute("SELECT input_tokens FROM llm_calls ORDER BY 1")]

    return read


@pytest.fixture
def drain(run):
    """
    Give a function that runs one more process, which delivers what the others left.
    """

    def next_process(expected: int) -> None:
        run(f"""
delivery = make()
delivery.start()
deadline = time.monotonic() + 20
while delivery.stats()["sqlite"].events_sent < {expected} and time.monotonic() < deadline:
    time.sleep(0.01)
""")

    return next_process


def test_plain_exit(run, stored, tmp_path):
    """A program that just ends has delivered everything, and leaves no journal."""
    run("emit(make(), 0, 250)")
    assert stored() == list(range(250))
    assert not list(tmp_path.glob("journal/*/*/*.segment"))


def test_exit_with_a_code(run, stored):
    """A program that gives up has delivered everything, and keeps its exit code."""
    run("emit(make(), 0, 5)\nsys.exit(3)", code=3)
    assert stored() == list(range(5))


def test_threads_that_go_on(run, stored):
    """A thread that outlives the main thread may still emit."""
    run("""
delivery = make()
emit(delivery, 0, 5)
def later():
    threading.main_thread().join()
    emit(delivery, 5, 5)
threading.Thread(target=later).start()
""")
    assert stored() == list(range(10))


def test_first_event_at_exit(run, stored, drain):
    """An event of an exit hook is delivered, or kept for the next process where no thread can be started."""
    run("""
import atexit
delivery = make()
atexit.register(lambda: emit(delivery, 0, 3))
""")
    if not stored():
        drain(3)
    assert stored() == [0, 1, 2]


def test_hanging_sink_at_exit(run, stored, drain):
    """A sink that hangs costs the exit no more than its deadline, and no record."""
    out = run("""
emit(make(Hanging, exit_timeout_ms=200), 0, 5)
import atexit
begun = time.monotonic()
atexit.register(lambda: None)
""")
    assert out == ""
    drain(5)
    assert stored() == list(range(5))


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGTERM)", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_sudden_death(run, stored, drain, end):
    """What was emitted before a sudden death is delivered by the next process."""
    code = {"os._exit(0)": 0}.get(end, -signal.SIGTERM if "SIGTERM" in end else -signal.SIGKILL)
    run(f"emit(make(Hanging), 0, 20)\n{end}", code=code)
    drain(20)
    assert stored() == list(range(20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork(run, stored):
    """A forked child has a journal and couriers of its own; parent and child both deliver."""
    run("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
delivery = make()
emit(delivery, 0, 10)
assert delivery.flush(10)
child = os.fork()
emit(delivery, 100 if child else 200, 10)
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0
stats = delivery.stats()["sqlite"]
assert stats.events_produced == (20 if child else 10), stats
""")
    assert stored() == [*range(10), *range(100, 110), *range(200, 210)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_a_sink_is_imported(run, stored, tmp_path):
    """A child that is forked while its parent imports a sink's client has a whole one, and delivers."""
    (tmp_path / "slow_client.py").write_text("import time; time.sleep(0.3); whole = True")
    run("""
import warnings
warnings.simplefilter("ignore")
sys.path.insert(0, str(folder))

def slow():
    import slow_client
    assert slow_client.whole
    return sqlite()

delivery = make(slow)
emit(delivery, 0, 1)
while "slow_client" not in sys.modules:
    time.sleep(0.001)
child = os.fork()
if not child:
    emit(delivery, 1, 1)
    os._exit(not delivery.flush(10))
assert os.waitpid(child, 0)[1] == 0
""")
    assert stored() == [0, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_then_os_exit(run, stored):
    """What a child left that ended by `os._exit` is adopted by its living parent."""
    run("""
import warnings
from otel_llm.delivery import delivery as module
warnings.simplefilter("ignore", DeprecationWarning)
module.ADOPT_SECONDS = 0.05
module._TEND_SECONDS = 0.05
delivery = make()
emit(delivery, 0, 3)
child = os.fork()
if not child:
    emit(delivery, 10, 3)
    os._exit(0)
os.waitpid(child, 0)
deadline = time.monotonic() + 20
while delivery.stats()["sqlite"].events_sent < 6 and time.monotonic() < deadline:
    time.sleep(0.01)
""")
    assert stored() == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(tmp_path, stored, method):
    """The children of `multiprocessing` deliver before they end, whatever the start method."""
    script = tmp_path / "program.py"
    script.write_text(
        PROGRAM
        + """
delivery = make()

def child(number):
    emit(delivery, number, 2)

if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    context = multiprocessing.get_context(sys.argv[2])
    emit(delivery, 0, 2)
    children = [context.Process(target=child, args=(number,)) for number in (10, 20)]
    for each in children:
        each.start()
    for each in children:
        each.join()
"""
    )
    subprocess.run([sys.executable, str(script), str(tmp_path), method], check=True, timeout=60)
    assert stored() == [0, 1, 10, 11, 20, 21]


def test_names_can_be_resolved_at_exit(run):
    """While the process ends a sink may still connect by name."""
    out = run("""
import asyncio
from otel_llm.delivery.sink import Receipt
class Naming:
    Options = object
    async def open(self): pass
    async def send(self, batch):
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        print("resolved", len(batch.records), flush=True)
        return Receipt.delivered()
    async def close(self): pass
import atexit
delivery = make(Naming)
delivery.start()
atexit.register(lambda: emit(delivery, 0, 1))
""")
    assert out == "resolved 1\n"


def test_several_processes_at_once(stored, tmp_path):
    """Several processes write into one database at the same time; nothing is lost or doubled."""
    body = PROGRAM + "emit(make(), int(sys.argv[2]), 200)"
    running = [subprocess.Popen([sys.executable, "-c", body, str(tmp_path), str(first)]) for first in (0, 1000, 2000)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert stored() == [*range(200), *range(1000, 1200), *range(2000, 2200)]


def test_gevent(tmp_path, stored):
    """In an application that gevent patched, delivery works and `asyncio.run` still does."""
    pytest.importorskip("gevent")
    body = """
import asyncio, gevent
delivery = make()
gevent.joinall([gevent.spawn(emit, delivery, first, 50) for first in range(0, 1000, 50)])

async def application():
    await asyncio.sleep(0)

asyncio.run(application())
assert delivery.flush(10)
"""
    program = "from gevent import monkey; monkey.patch_all()\n" + PROGRAM + body
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    assert stored() == list(range(1000))
