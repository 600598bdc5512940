"""
The servers of one test run.
"""

import contextlib
import shutil
import time

import pytest

from tests.servers.kit import cache, catalogue, own
from tests.servers.kit.missing import Missing


class Servers:
    """
    Starts servers by name, and stops them all in the end; a test that asks for one that cannot be had is skipped.
    """

    def __init__(self):
        self._shared = {}
        self._all = []

    def get(self, name, **options):
        """
        Give the server that all tests of this run share, started by the first that asks for it.
        """
        key = (name, *sorted(options.items()))
        if key not in self._shared:
            self._shared[key] = self._started(name, options)
        server = self._shared[key]
        if isinstance(server, Missing):
            pytest.skip(str(server))
        return server

    def start(self, name, **options):
        """
        Start a server for one test alone; it may be killed.
        """
        server = self._started(name, options)
        if isinstance(server, Missing):
            pytest.skip(str(server))
        return server

    def stop(self):
        """
        Stop them all.
        """
        for server in reversed(self._all):
            with contextlib.suppress(OSError):
                server.stop()

    def keep_logs(self):
        """
        Copy the logs into the cache; gives the copies.
        """
        logs = [server.log for server in self._all if getattr(server, "log", None) and server.log.exists()]
        return [_kept(log) for log in logs]

    def _started(self, name, options):
        module = catalogue.module(name)
        endpoint = own.endpoint(name)
        try:
            server = own.Own(name, endpoint) if endpoint and not options else module.start(**options)
        except Missing as missing:
            return Missing(f"no server {name}: {missing}")
        self._all.append(server)
        return server


def session(request):
    """
    Give the servers of a test run, for a fixture of session scope; their logs stay when a test has failed.
    """
    servers = Servers()
    yield servers
    if request.session.testsfailed:
        for log in servers.keep_logs():
            request.config.get_terminal_writer().line(f"\na server's log: {log}")
    servers.stop()


def _kept(log):
    folder = cache.root() / "logs"
    folder.mkdir(exist_ok=True)
    return shutil.copyfile(log, folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{log.parent.name}-{log.name}")
