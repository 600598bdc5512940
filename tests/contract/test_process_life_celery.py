"""
A Celery worker whose children are replaced after a few tasks: every call of every child is in the store once.
"""

import signal
from collections import Counter

import pytest
from lives import LATE, Life, is_quiet

pytestmark = pytest.mark.slow


@pytest.fixture
def life(tmp_path, server):
    running = Life(tmp_path, server)
    yield running
    running.close()


NAMES = [f"task-{number}" for number in range(8)]


@pytest.fixture
def worker(life):
    """
    Give a function that starts a worker whose children make so many calls, and waits until eight have been made.
    """

    def start(tasks):
        send = "import sys, tasks\nfor name in sys.argv[1:]: tasks.call.delay(name)"
        assert life.run(send, *NAMES, launcher=None).stderr == ""
        options = f"--pool prefork --concurrency 2 --max-tasks-per-child {tasks} --loglevel CRITICAL"
        process = life.start(f"-m celery -A tasks worker {options} --without-gossip --without-mingle", **LATE)
        life.wait_until(lambda: len(list(life.folder.glob("done/*"))) == len(NAMES))
        return process

    return start


@pytest.mark.parametrize("tasks", [1, 3, 100])
def test_warm_shutdown(tasks, worker, life):
    """
    Children leave by `os._exit`, after so many tasks or with their parent, and deliver before they go.

    But for those that Celery has killed: a child that replaced another one dies with the thread that made it
    (PR_SET_PDEATHSIG). Calls that it had not delivered, on a busy machine, are there after the next start.
    """
    process = worker(tasks)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, is_quiet(said)) == (0, True), said
    assert {*NAMES} - {*life.stored} <= made_by_killed(life, tasks)
    life.start_again()


def made_by_killed(life, tasks):
    """
    Give the calls of children that replaced one of the first two and had not made all their tasks.
    """
    made = {name: (life.folder / "done" / name).read_text() for name in NAMES}
    count = Counter(made.values())
    return {name for name, child in made.items() if child[-2:] not in {"-1", "-2"} and count[child] < tasks}


def test_cold_shutdown(worker, life):
    """
    What children left that were killed is delivered by the next start.
    """
    process = worker(3)
    process.send_signal(signal.SIGQUIT)
    assert is_quiet(process.communicate(timeout=60)[1])
    life.start_again()
