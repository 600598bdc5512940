"""
AWS Lambda freezes a process as soon as its handler has returned: by then the sinks have every call.
"""

import signal
import time

import pytest
from lives import LATE, Life

RUNTIME = """
import asyncio, sys
from calls import acall, call, opened

def handler(name):
    call(name)

def streaming(name):
    with opened(name) as chunks:
        for _ in chunks:
            pass

def asynchronous(name):
    async def both():
        await asyncio.gather(acall(name + "-a"), acall(name + "-b"))
    asyncio.run(both())

for line in sys.stdin:
    name, event = line.split()
    globals()[name](event)
    print("returned", flush=True)
"""
"""What Lambda's runtime does: one invocation after another in one process."""

LAMBDA = {**LATE, "AWS_LAMBDA_FUNCTION_NAME": "summarise", "OTEL_LLM_JOURNAL_DIR": "journal"}


@pytest.fixture
def life(tmp_path, server):
    running = Life(tmp_path, server)
    yield running
    running.close()


def invoke(process, handler, event):
    """
    Thaw the process for one invocation, and freeze it when the handler has returned.
    """
    process.send_signal(signal.SIGCONT)
    process.stdin.write(f"{handler} {event}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "returned\n"
    process.send_signal(signal.SIGSTOP)


def test_frozen_between_invocations(life):
    """
    Whatever kind of call the handler made, its record is in the store while the process is frozen.
    """
    process = life.start(RUNTIME, **LAMBDA)
    seen = []
    for number, handler in enumerate(["handler", "streaming", "asynchronous", "handler"]):
        invoke(process, handler, f"event-{number}")
        seen.append((len(life.asked), life.stored == life.asked))
    assert seen == [(1, True), (2, True), (4, True), (5, True)]
    process.kill()


@pytest.mark.slow
def test_stuck_sink(life):
    """
    A sink that is stuck costs one invocation its exit timeout, not every one; another sink has all the records.
    """
    stuck = {"OTEL_LLM_SINKS": "sqlite,silent", "OTEL_LLM_EXIT_TIMEOUT_MS": "5000"}
    process = life.start(RUNTIME, **LAMBDA | stuck)
    begun = time.monotonic()
    for number in range(20):
        invoke(process, "handler", f"event-{number}")
        assert life.stored == life.asked
    assert time.monotonic() - begun < 20 * 5
    process.kill()


def test_journal(life):
    """
    The journal is where Lambda lets a function write.
    """
    shows = "from otel_llm import pipeline\nprint(pipeline.current().settings.journal_dir)"
    done = life.run(shows, TMPDIR=life.folder, AWS_LAMBDA_FUNCTION_NAME="summarise")
    assert (done.stdout, done.stderr) == (f"{life.folder}/otel-llm/journal\n", "")
