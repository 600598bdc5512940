"""
PostgreSQL, as Debian has it: a cluster of its own, which is not synced to disk.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from tests.servers.kit import install as installers
from tests.servers.kit import ports
from tests.servers.kit.missing import Missing
from tests.servers.kit.program import Program, new_folder

TIER = "quick"

SUPERUSER = "postgres"
"""Comes in without a password; everybody else has to tell one."""

_RULES = """
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""

_SCHEMAS = """
SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
"""

_SETTINGS = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "lc_messages": "C",
}


def install():
    """
    Bring it in by apt; gives the folder of its programs.
    """
    if not _programs():
        installers.apt("postgresql", provides="pg_ctlcluster")
    found = _programs()
    if not found:
        raise Missing("initdb is not installed: apt-get install postgresql")
    return found[-1]


def start(**settings):
    """
    Start it; what is given further are settings of its own, such as `ssl="on"`.
    """
    programs = install()
    folder, port = new_folder("postgres"), ports.free()
    user = _owner()
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    command = [programs / "initdb", "-D", data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    (data / "pg_hba.conf").write_text(_RULES)
    options = [f"{name}={value}" for name, value in (_SETTINGS | settings).items()]
    program = [programs / "postgres", "-D", data, "-p", port, *(part for option in options for part in ("-c", option))]
    return Postgres("postgres", program, endpoint=f"{ports.HOST}:{port}", folder=folder, user=user).start()


class Postgres(Program):
    """
    A running cluster; what was committed survives `kill()` and `restart()`.
    """

    @property
    def dsn(self):
        """How its superuser comes in."""
        return f"postgresql://{SUPERUSER}@{self.endpoint}/postgres"

    @property
    def owner(self):
        """The user whose files it reads."""
        return self._user

    def connect(self, dbname="postgres"):
        """
        Give a connection of the superuser, by a client of our own.
        """
        return psycopg.connect(self.dsn, dbname=dbname, autocommit=True, connect_timeout=5)

    def rows(self, statement, *values, dbname="postgres"):
        """
        Run a statement; gives its rows, or none.
        """
        with self.connect(dbname) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def empty(self, name):
        """
        Make a database, or what is in it go, which is quicker.
        """
        if not self.rows("SELECT 1 FROM pg_database WHERE datname = %s", name):
            self.rows(f"CREATE DATABASE {name}")
        for (schema,) in self.rows(_SCHEMAS, dbname=name):
            self.rows(f"DROP SCHEMA {schema} CASCADE", dbname=name)
        self.rows("CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC", dbname=name)

    def kill(self):
        """
        End it and all its children at once: those who wait for a query would go on for a while.
        """
        children = self._children()
        super().kill()
        _send(signal.SIGKILL, children)
        _await_end(children)

    def shut_down(self):
        """
        Let it break off all connections and end.
        """
        self._end(signal.SIGINT)

    def pause(self):
        """
        Let it and its children stand still, their connections open.
        """
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        """
        Let them go on.
        """
        self._signal_all(signal.SIGCONT)

    def stop(self):
        self.kill()
        super().stop()

    def _signal_all(self, what):
        _send(what, [self.pid, *self._children()])

    def _children(self):
        if self.pid is None:
            return []
        return [int(child) for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def _listens(self):
        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False


def _programs():
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    there = shutil.which("initdb")
    return sorted(found, key=lambda path: int(path.parent.name)) + ([Path(there).parent] if there else [])


def _owner():
    return None if os.geteuid() else "postgres"


def _send(what, processes):
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, what)


def _await_end(children, timeout=10.0):
    deadline = time.monotonic() + timeout
    while any(Path(f"/proc/{child}").exists() for child in children):
        if time.monotonic() > deadline:
            raise RuntimeError("PostgreSQL's processes do not end")
        time.sleep(0.01)
