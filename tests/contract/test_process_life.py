"""
However a process ends, every call that it made is in the store once: delivered at its end, or by the next start.
"""

import signal
import time

import pytest
from lives import LATE, SQLITE, STUCK, Life

CALLS = "from calls import call\nfor number in range(3):\n    call(f'call-{number}')\n"
THREE = ["call-0", "call-1", "call-2"]
WAITS = CALLS + "print('called', flush=True)\ninput()\n"

PYTHON_SAYS = {"OTEL_SDK_DISABLED": "true"}
"""How a program ends without us."""


@pytest.fixture
def life(tmp_path, server):
    running = Life(tmp_path, server)
    yield running
    running.close()


def seconds_to_exit(life, program, **settings):
    """
    Run a program and give what it said and how long it took from its last line to its end.
    """
    done = life.run(f"{program}\nimport time\nprint(time.monotonic())", **settings)
    return time.monotonic() - float(done.stdout), done


class TestDeadline:
    """One deadline for all sinks, whatever they do."""

    DEADLINE = 1.0
    SLACK = 1.5
    """What the interpreter itself may take, on a busy machine."""

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", STUCK)
    def test_many_stuck_sinks(self, kind, life):
        """
        Five sinks that are stuck take no longer than one, and another sink has its records.
        """
        names = [f"{kind}{number}" for number in range(5)]
        (life.folder / "otel-llm.yaml").write_text(
            "sinks:\n  sqlite: {}\n" + "".join(f"  {name}: {{type: {kind}}}\n" for name in names)
        )
        seconds, done = seconds_to_exit(life, CALLS, OTEL_LLM_CONFIG="otel-llm.yaml", OTEL_LLM_EXIT_TIMEOUT_MS="1000")
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
        assert seconds < self.DEADLINE + self.SLACK
        if kind != "rude":
            assert life.stored == THREE

    @pytest.mark.slow
    def test_stuck_exporters(self, life):
        """
        Sinks that are OpenTelemetry's exporters share the deadline, too.
        """
        exporters = "llm_silent,llm_blocking,llm_stubborn"
        seconds, done = seconds_to_exit(life, CALLS, OTEL_LOGS_EXPORTER=exporters, OTEL_LLM_EXIT_TIMEOUT_MS="1000")
        assert (done.returncode, done.stderr) == (0, "")
        assert seconds < self.DEADLINE + self.SLACK

    def test_names_are_resolved_to_the_end(self, life):
        """
        A sink that needs a name's address at the very end gets it.
        """
        settings = {"OTEL_LLM_RESOLVING_PATH": "resolved", "OTEL_LLM_FLUSH_INTERVAL_MS": "60000"}
        done = life.run(
            "import atexit, calls\natexit.register(calls.call, 'last')\ncalls.call('first')",
            OTEL_LLM_SINKS="resolving",
            **settings,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len((life.folder / "resolved").read_text().splitlines()) == 2


def _quick(cases, *names):
    """
    Make parameters of a table; all but those named belong to the full tier.
    """
    marks = {name: () if name in names else pytest.mark.slow for name in cases}
    return [pytest.param(case, id=name, marks=marks[name]) for name, case in cases.items()]


ENDS = {
    "returns": "",
    "sys.exit": "import sys; sys.exit(3)",
    "sys.exit in a thread": "import sys, threading; threading.Thread(target=sys.exit, args=(3,)).start()",
    "raises": "raise ValueError('no more')",
    "raises in a thread": "import threading; threading.Thread(target=lambda: 1 / 0).start()",
    "is interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "is interrupted in a call": "import _thread; _thread.interrupt_main(); call('interrupted')",
    "ends its own handler": (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    ),
    "leaves a thread behind": (
        "import threading\nthreading.Thread(target=lambda: (threading.main_thread().join(), call('late'))).start()"
    ),
    "calls at exit": "import atexit; atexit.register(call, 'late')",
    "leaves a daemon behind": (
        "import threading\n"
        "def work():\n    while True:\n        threading.Event().wait(0.001)\n"
        "threading.Thread(target=work, daemon=True).start()"
    ),
}


@pytest.mark.parametrize("end", _quick(ENDS, "returns", "is interrupted"))
def test_ends_that_deliver(end, life):
    """
    A process that ends by Python's own means has delivered everything, and says and returns what it would without us.
    """
    without = life.run(CALLS + end, **PYTHON_SAYS)
    life.forget()
    done = life.run(CALLS + end, **LATE)
    assert (done.returncode, done.stdout) == (without.returncode, without.stdout)
    assert [line for line in done.stderr.splitlines() if line not in without.stderr.splitlines()] == []
    assert life.stored == life.asked
    assert not list(life.journal.glob("*/*/"))


SUDDEN = {
    "os._exit": ("import os; os._exit(7)", 7),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "SIGKILL": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "SIGHUP": ("import os, signal; os.kill(os.getpid(), signal.SIGHUP)", -signal.SIGHUP),
    "abort": ("import os; os.abort()", -signal.SIGABRT),
    "os._exit in a thread": ("import os, threading; threading.Thread(target=os._exit, args=(7,)).start()", 7),
}


@pytest.mark.parametrize("sudden", _quick(SUDDEN, "SIGTERM"))
def test_ends_that_leave_it_to_the_next_start(sudden, life):
    """
    What nobody could deliver any more is delivered when the service starts again.
    """
    end, code = sudden
    done = life.run(CALLS + end, **LATE)
    assert (done.returncode, done.stdout, done.stderr, life.stored) == (code, "", "", [])
    life.start_again()


def test_no_signal_handler(life):
    """
    We handle no signal: how the process reacts to each is the application's business.
    """
    shows = CALLS + "import signal\nprint([signal.getsignal(each) for each in sorted(signal.valid_signals())])"
    assert life.run(shows, **SQLITE).stdout == life.run(shows, **PYTHON_SAYS).stdout


@pytest.mark.slow
def test_impatience(life):
    """
    Ctrl-C while the sinks are given their time ends the process at once; the next start delivers.
    """
    silent = {"OTEL_LLM_SINKS": "sqlite,silent", "OTEL_LLM_SILENT_PATH": "asked"}
    process = life.start(CALLS, **LATE | silent, OTEL_LLM_EXIT_TIMEOUT_MS="60000")
    life.wait_until((life.folder / "asked").exists)
    process.send_signal(signal.SIGINT)
    assert (*process.communicate(timeout=20), process.returncode) == ("", "", 0)
    life.start_again(**silent, OTEL_LLM_EXIT_TIMEOUT_MS="100")
