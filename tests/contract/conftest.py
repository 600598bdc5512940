"""
What contract tests need besides a provider and telemetry: a quick garbage collector, and signals that end a program.
"""

import gc
import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _quick_collections():
    """
    Keep the imported SDKs, hundreds of thousands of objects, out of each collection that a test asks for.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _signals_of_a_terminal():
    """
    Give programs the signals back that a run in the background (`nohup`, `&`) is told to ignore, and would hand down.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
