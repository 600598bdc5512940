"""
Programs with a scheduler of their own: asyncio loops that come and go, and gevent, patched as early or late as may be.
"""

import pytest
from lives import LATE, Life


@pytest.fixture
def life(tmp_path, server):
    running = Life(tmp_path, server)
    yield running
    running.close()


def finished(life, program, **settings):
    """
    Run a program that should end well and say nothing.
    """
    done = life.run(program, **LATE | settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestAsyncio:
    """The application's loops are not ours, and theirs may close when they like."""

    def test_one_loop_after_another(self, life):
        """
        Calls in loops that have closed are delivered, and what is recorded after the last one closed, too.
        """
        program = """
import asyncio, atexit
from calls import acall, call
for number in range(3):
    asyncio.run(acall(f"loop-{number}"))
call("after")
"""
        finished(life, program)
        assert (len(life.asked), life.stored) == (4, life.asked)

    @pytest.mark.slow
    def test_loop_closed_on_an_open_stream(self, life):
        """
        A stream that is open when its loop closes is one cancelled call.
        """
        program = """
import asyncio, httpx2
from calls import HEADERS, URL, asking

async def begin():
    client = httpx2.AsyncClient(verify=False)
    request = client.build_request("POST", URL, headers=HEADERS, json=asking("open", stream=True))
    answer = await client.send(request, stream=True)
    chunks = answer.aiter_bytes()
    await anext(chunks)
    return client, answer, chunks

loop = asyncio.new_event_loop()
kept = loop.run_until_complete(begin())
loop.close()
"""
        done = life.run(program, **LATE)
        assert (done.returncode, life.rows(columns="request_model, status")) == (0, [("open", "cancelled")])

    @pytest.mark.slow
    def test_cancelled_tasks(self, life):
        """
        Tasks that `asyncio.run` cancels at its end are recorded as cancelled, each once.
        """
        program = """
import asyncio
from calls import acall, opened

async def main():
    tasks = [asyncio.ensure_future(acall(f"task-{number}")) for number in range(4)]
    await asyncio.sleep(0)
    await acall("main")
    del tasks

asyncio.run(main())
"""
        finished(life, program)
        assert sorted(set(life.asked) - set(life.stored)) == []
        assert len(life.stored) == len(set(life.stored))

    @pytest.mark.slow
    @pytest.mark.parametrize("where", ["thread", "loop"])
    def test_flush(self, where, life):
        """
        `flush` may be called from anywhere; afterwards the sinks have everything.
        """
        flush = {
            "thread": "thread = threading.Thread(target=check); thread.start(); thread.join()",
            "loop": "asyncio.run(asyncio.to_thread(check)); asyncio.run(inside())",
        }[where]
        program = f"""
import asyncio, sqlite3, threading
import otel_llm
from calls import acall, call

def check():
    call("sync")
    assert otel_llm.flush(20)
    assert sqlite3.connect("otel-llm.db").execute("SELECT count(*) FROM llm_calls").fetchone()[0] >= 1

async def inside():
    await acall("async")
    assert otel_llm.flush(20)

{flush}
"""
        finished(life, program, OTEL_LLM_EXIT_TIMEOUT_MS="100")
        assert life.stored == life.asked


GREENLETS = """
import asyncio, gc, gevent
from calls import call, opened

def work(name):
    call(name)
    with opened(name + "-read") as chunks:
        for _ in chunks:
            pass
    with opened(name + "-left"):
        gevent.sleep(0)

for each in gevent.joinall([gevent.spawn(work, f"greenlet-{number}") for number in range(8)]):
    each.get()
asyncio.run(asyncio.sleep(0))
"""


class TestGevent:
    """Under gevent our own threads stay threads, and nothing of ours blocks the greenlets."""

    @pytest.mark.parametrize(
        "settings",
        [{}, {"OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH": "patch_all"}],
        ids=["patched by the application", "patched before us"],
    )
    def test_greenlets(self, settings, life):
        """
        Every call and every stream of every greenlet is recorded once.
        """
        finished(life, "from gevent import monkey; monkey.patch_all()\n" + GREENLETS, **settings)
        assert (len(life.asked), life.stored) == (24, life.asked)

    @pytest.mark.slow
    def test_contention(self, life):
        """
        Greenlets and our threads are after the same locks, and none of them waits for ever.
        """
        program = """
from gevent import monkey; monkey.patch_all()
import gevent, time
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.telemetry.event import Event, new_event_id
from otel_llm.testing import RecordingSink
from pathlib import Path

sink = RecordingSink()
spec = SinkSpec(name="sink", make=lambda: sink, encoder=lambda event: b"{}")
settings = DeliverySettings(journal_dir=Path("contention"), flush_interval_ms=5, batch_size=20)
delivery = Delivery(sinks=[spec], settings=settings)

def emit():
    for number in range(200):
        delivery.append(Event(new_event_id(), "test", time.time_ns(), 0, 9, "INFO", {}))
        if number % 10 == 0:
            gevent.sleep(0)

for each in gevent.joinall([gevent.spawn(emit) for _ in range(40)]):
    each.get()
assert delivery.flush(20)
assert len({event.id for event in sink.events}) == len(sink.events) == 8000
"""
        finished(life, program)
