"""
A server that runs as a process of ours, with a folder for its data and its log.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers.kit import ports

_LAST_WORDS = 3000


class Program:
    """
    A server process; `restart()` brings it back on the same ports with the same data.

    Args:
        name: What to call it; also in the names of its folder and its log.
        command: What to run.
        endpoint: Where it listens, as `host:port` or a URL.
        others: Further addresses by name, such as `ssl`.
        ready: Says whether it answers; by default whether the endpoint's port is open.
        folder: Its data, removed by `stop()`; a new one when not given.
        env: Variables besides those of this process.
        timeout: Seconds it may take to become ready.
        user: Who it runs as, where it refuses to be root.
    """

    def __init__(
        self, name, command, *, endpoint, others=None, ready=None, folder=None, env=None, timeout=60.0, user=None
    ):
        self.name = name
        self.endpoint = endpoint
        self._others = others or {}
        self.folder = folder or new_folder(name)
        self.log = self.folder / f"{name}.log"
        self._command = [str(part) for part in command]
        self._ready = ready or self._listens
        self._env = env or {}
        self._timeout = timeout
        self._user = user
        self._process = None
        self._guard = None

    @property
    def pid(self):
        """The process id while it runs."""
        return None if self._process is None else self._process.pid

    def at(self, name):
        """
        Give a further address by its name.
        """
        return self._others[name]

    def start(self):
        """
        Start it and wait until it is ready; gives the program itself.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | self._env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
            )
        self._guard = _Guard(self._process.pid, self.folder)
        self._await_ready()
        return self

    def kill(self):
        """
        End it at once, as a power cut would; its data stay.
        """
        self._end(signal.SIGKILL)

    def shut_down(self):
        """
        Ask it to end, and wait for that; its data stay.
        """
        self._end(signal.SIGTERM)

    def restart(self):
        """
        Start it again on the same ports; what is still running is asked to end first.
        """
        self.shut_down()
        ports.wait_until_free(self.port)
        return self.start()

    def stop(self):
        """
        End it and remove its data.
        """
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def port(self):
        """The port of the endpoint."""
        return int(self.endpoint.removesuffix("/").rpartition(":")[2].partition("/")[0])

    def pause(self):
        """
        Let it stand still, its connections open.
        """
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self):
        """
        Let a paused one go on.
        """
        os.killpg(self._process.pid, signal.SIGCONT)

    def last_words(self):
        """
        Give the end of its log.
        """
        return self.log.read_text(errors="replace")[-_LAST_WORDS:] if self.log.exists() else ""

    def __enter__(self):
        return self if self._process else self.start()

    def __exit__(self, *_):
        self.stop()

    def _listens(self):
        return ports.is_open(self.port)

    def _await_ready(self):
        deadline = time.monotonic() + self._timeout
        while not self._ready():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                how = f"ended with {ended}" if ended is not None else f"is not ready after {self._timeout:g} s"
                self._end(signal.SIGKILL)
                raise RuntimeError(f"{self.name} {how}; its log ends:\n{self.last_words()}")
            time.sleep(0.02)

    def _end(self, how):
        process, self._process = self._process, None
        if process is None:
            return
        try:
            _signal(process, how)
            process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
        self._guard.dismiss()


class _Guard:
    """
    A process that ends the server and removes its data when ours is gone, however it went.
    """

    def __init__(self, group, folder):
        command = ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$0"; sleep 1; rm -rf "$1"', str(group), str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def dismiss(self):
        """
        End the guard itself.
        """
        self._process.kill()
        self._process.stdin.close()
        self._process.wait()


def new_folder(name):
    """
    Make a folder for a server's data.
    """
    return Path(tempfile.mkdtemp(prefix=f"otel-llm-{name}-"))


def _signal(process, how):
    if process.poll() is None:
        os.killpg(process.pid, how)
