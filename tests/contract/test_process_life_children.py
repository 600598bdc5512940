"""
A process that makes others: every call of each is in the store once, whoever makes the child and however it ends.
"""

import pytest
from lives import LATE, SQLITE, Life

METHODS = ["fork", "forkserver", "spawn"]


@pytest.fixture
def life(tmp_path, server):
    running = Life(tmp_path, server)
    yield running
    running.close()


def in_main(body):
    return "import multiprocessing, os, sys, threading\nfrom calls import call, opened\n" + body


def finished(life, program, **settings):
    """
    Run a program that should end well and say nothing.
    """
    done = life.run(program, **settings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
class TestMultiprocessing:
    """The children of `multiprocessing`, which end without `atexit`."""

    def test_processes(self, method, life):
        """
        Each child delivers before it ends.
        """
        program = in_main(f"""
def work(name):
    call(name)
    call(name + "-again")

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    call("parent")
    children = [context.Process(target=work, args=(f"child-{{number}}",)) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
""")
        finished(life, program, **LATE)
        assert (len(life.asked), life.stored) == (7, life.asked)

    def test_pools(self, method, life):
        """
        Workers of both pools deliver, although one of the pools ends its workers by SIGTERM.
        """
        program = in_main(f"""
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(call, [f"executor-{{number}}" for number in range(4)]))
    with context.Pool(2) as pool:
        pool.map(call, [f"pool-{{number}}" for number in range(4)], chunksize=1)
""")
        finished(life, program, **LATE)
        life.start_again()

    def test_daemons(self, method, life):
        """
        A daemonic child is killed with its parent; what it had not delivered the next start delivers.
        """
        program = in_main(f"""
def work(told):
    call("daemon")
    told.set()
    threading.Event().wait()

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    told = context.Event()
    context.Process(target=work, args=(told,), daemon=True).start()
    told.wait()
    call("parent")
""")
        finished(life, program, **LATE)
        life.start_again()

    def test_open_stream(self, method, life):
        """
        An answer that a child leaves open is a cancelled call.
        """
        program = in_main(f"""
kept = []

def work():
    stream = opened("left-open")
    kept.extend([stream, stream.__enter__()])

if __name__ == "__main__":
    child = multiprocessing.get_context("{method}").Process(target=work)
    child.start()
    child.join()
""")
        finished(life, program, **LATE)
        assert life.rows(columns="request_model, status") == [("left-open", "cancelled")]

    def test_failing_child(self, method, life):
        """
        A child that raises, or leaves with a code, does so as it would without us, and delivers.
        """
        program = in_main(f"""
def work(code):
    call(f"child-{{code}}")
    sys.exit(code)

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    child = context.Process(target=work, args=(3,))
    child.start()
    child.join()
    sys.exit(child.exitcode)
""")
        done = life.run(program, **LATE)
        assert (done.returncode, done.stdout, done.stderr, life.stored) == (3, "", "", ["child-3"])


class TestFork:
    """`os.fork`, at inconvenient moments."""

    @pytest.mark.slow
    def test_generations(self, life):
        """
        Parent, child and grandchild each record their own calls, and all that was waiting in the parent stays its own.
        """
        program = in_main("""
call("parent-before")
if not os.fork():
    call("child-before")
    if not os.fork():
        call("grandchild")
        sys.exit()
    os.wait()
    call("child-after")
    sys.exit()
os.wait()
call("parent-after")
""")
        finished(life, program, **LATE)
        assert (len(life.asked), life.stored) == (5, life.asked)

    def test_open_stream(self, life):
        """
        An answer that is open at the fork is the parent's: the child that lets go of it records nothing.
        """
        program = in_main("""
import gc
with opened("stream") as chunks:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        for _ in chunks:
            pass
    else:
        del chunks
if not child:
    gc.collect()
    call("child")
""")
        finished(life, program, **LATE)
        assert (life.stored, sorted(life.rows(columns="request_model, status"))) == (
            life.asked,
            [("child", "success"), ("stream", "success")],
        )

    def test_child_that_outlives_its_parent(self, life):
        """
        A child goes on writing into the database that its parent has closed.
        """
        program = in_main("""
import otel_llm
call("parent")
assert otel_llm.flush(20)
gone, parent = os.pipe()
ready, child = os.pipe()
if os.fork():
    os.read(ready, 1)
    sys.exit()
os.close(parent)
call("child-before")
assert otel_llm.flush(20)
os.write(child, b"!")
assert os.read(gone, 1) == b""
call("child-after")
""")
        finished(life, program, **LATE)
        assert (len(life.asked), life.stored) == (3, life.asked)

    @pytest.mark.slow
    @pytest.mark.parametrize("calls", ["", "call('child')"], ids=["idle", "calling"])
    def test_inherited_client(self, calls, life):
        """
        A child never lets go of a client that it inherited: its goodbye would reach the parent's server.
        """
        program = in_main(f"""
import otel_llm
call("parent")
assert otel_llm.flush(20)
if not os.fork():
    {calls}
    sys.exit()
os.wait()
""")
        finished(life, program, OTEL_LLM_SINKS="parting", OTEL_LLM_PARTING_PATH="calls")
        assert len((life.folder / "calls").read_text().splitlines()) == len(life.asked)
        assert not (life.folder / "goodbyes").exists()

    @pytest.mark.slow
    def test_fork_while_threads_call(self, life):
        """
        A child forked while other threads are in the middle of calls is none the worse for it.
        """
        program = in_main("""
from calls import prepared
def work(name):
    for number in range(20):
        call(f"{name}-{number}")

prepared()
threads = [threading.Thread(target=work, args=(f"thread-{number}",)) for number in range(4)]
for thread in threads:
    thread.start()
for number in range(8):
    if not os.fork():
        call(f"child-{number}")
        sys.exit()
for number in range(8):
    assert os.wait()[1] == 0
for thread in threads:
    thread.join()
""")
        finished(life, program, **SQLITE)
        assert (len(life.asked), life.stored) == (88, life.asked)

    def test_fork_while_another_thread_switches_on(self, life):
        """
        Who forks while another thread makes the pipeline waits, and the child has a whole one.
        """
        program = """
import os, signal, threading
import otel_llm.pipeline

begun = threading.Event()

def switch_on():
    with otel_llm.pipeline._lock:
        begun.set()
        otel_llm.configure(sinks=["sqlite"])

thread = threading.Thread(target=switch_on)
thread.start()
begun.wait()
child = os.fork()
signal.alarm(20)
otel_llm.configure(sinks=["sqlite"])
from calls import call
call("parent" if child else "child")
if child:
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
"""
        done = life.run(program, **LATE, launcher=None)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (len(life.asked), life.stored) == (2, life.asked)

    @pytest.mark.slow
    def test_fork_then_os_exit(self, life):
        """
        What a child leaves that ends by `os._exit` is adopted.
        """
        program = in_main("""
call("parent")
if not os.fork():
    call("child")
    os._exit(0)
os.wait()
""")
        finished(life, program, **LATE)
        life.start_again()

    @pytest.mark.slow
    def test_daemonised(self, life):
        """
        A program that detaches itself by two forks records what it does afterwards.
        """
        program = in_main("""
call("foreground")
reading, writing = os.pipe()
if os.fork():
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
call("background")
""")
        finished(life, program, **LATE)
        life.wait_until(lambda: "background" in life.stored)
        life.start_again()


@pytest.mark.slow
def test_subprocess(life):
    """
    A program started by a program is observed by itself.
    """
    program = in_main("""
import subprocess
call("outer")
subprocess.run([sys.executable, "-c", "from calls import call; call('inner')"], check=True)
""")
    finished(life, program, **LATE)
    assert life.stored == ["inner", "outer"]
