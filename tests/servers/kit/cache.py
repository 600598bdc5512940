"""
The cache outside the tree: every program is brought in once, also when several test runs begin at the same time.
"""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

VARIABLE = "TEST_OTEL_LLM_CACHE"


def root():
    """
    Give the folder that keeps everything.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get(VARIABLE) or Path(base) / "otel-llm-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made(name, make):
    """
    Give the folder of that name after `make(folder)` has filled it, once; name the version, too: `kafka-4.1.1`.
    """
    folder = root() / name
    done = folder / ".complete"
    if done.exists():
        return folder
    with locked(name):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make(folder)
            done.touch()
    return folder


@contextlib.contextmanager
def locked(name):
    """
    Let only one process of this machine at a time do what is inside.
    """
    with (root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
