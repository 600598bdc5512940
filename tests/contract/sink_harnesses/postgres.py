import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg
from sink_harness import Harness

from otel_llm import plugins
from otel_llm.settings import SinkSettings
from tests.servers.kit import ports

_DATABASE = "contract"
_ROLES = count(1)


class PostgresHarness(Harness):
    """
    Asks the database, over a connection of its own.
    """

    client = "psycopg"
    variants = (
        {},
        {"schema": 'a "schema"', "table": "Übersicht; --"},
        {"partition": "day", "retention_days": 7},
        {"pool_size": 1},
    )
    misuses = (
        ({"dsn": "postgresql://u:swordfish@h:port/db"}, "dsn: found some text, expected a connection string such as"),
        ({"port": 0}, "port: found 0, expected a whole number above 0"),
        ({"sslmode": "always"}, "sslmode: found 'always', expected disable, allow, prefer, require, verify-ca or"),
        ({"sslrootcert": "missing.pem"}, "expected a file that exists in sslrootcert"),
        ({"table": "é" * 32}, "expected a name of 1 to 63 bytes"),
        ({"schema": ""}, "expected a name of 1 to 63 bytes"),
        ({"table": "a\0b"}, "expected a name of 1 to 63 bytes"),
        ({"partition": "day", "table": "t" * 55}, "expected a table of at most 54 bytes beside partition: day"),
        ({"retention_days": 7}, "expected partition: day or hypertable beside retention_days"),
        ({"retention_days": -1}, "retention_days: found -1, expected a number of days, or 0 for ever"),
        ({"format": "otlp_proto"}, "format: found 'otlp_proto', expected otel, gateway_log, analytics or usage"),
    )
    troubles = (
        ("nobody there", "Connection refused"),
        ("no such database", 'database "nowhere" does not exist'),
        ("read only", "takes no writes"),
        ("another's table", "is another's: it has no column event"),
        ("no right", "InsufficientPrivilege 42501"),
        ("no TLS", "server does not support SSL"),
    )
    served = True
    guarded = True

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self._server = request.getfixturevalue("servers").get("postgres")
        self._server.empty(_DATABASE)
        self._role = f"contract_{next(_ROLES)}"
        self._do(f"CREATE ROLE {self._role} LOGIN PASSWORD 'swordfish'")
        self._do(f"GRANT ALL ON DATABASE {_DATABASE} TO {self._role}; GRANT ALL ON SCHEMA public TO {self._role}")

    @property
    def options(self):
        return {"dsn": f"postgresql://{self._role}:swordfish@{self._server.endpoint}/{_DATABASE}"}

    def troubled(self, trouble):
        match trouble:
            case "nobody there":
                return {**self.options, "port": ports.free()}
            case "no such database":
                return {**self.options, "dbname": "nowhere"}
            case "read only":
                self._do(f"ALTER ROLE {self._role} SET default_transaction_read_only = on")
            case "another's table":
                self._do(f"CREATE TABLE llm_calls (a text); GRANT ALL ON llm_calls TO {self._role}")
            case "no right":
                self._do(f"REVOKE CREATE ON SCHEMA public FROM {self._role}")
            case "no TLS":
                return {**self.options, "sslmode": "require"}
        return self.options

    def arrived(self):
        return [event_id for table in self._tables() for (event_id,) in self._do(f"SELECT event_id FROM {table}")]

    def stop(self):
        self._server.kill()

    def start(self):
        self._server.restart()

    @contextlib.contextmanager
    def holding(self):
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._prepared()).result()
        with self._server.connect(_DATABASE) as connection, contextlib.suppress(psycopg.OperationalError):
            connection.execute("BEGIN; LOCK TABLE llm_calls")
            yield self._wait_for_somebody
            connection.rollback()

    def refuse(self):
        self._do(f"ALTER ROLE {self._role} PASSWORD 'other'")

    def accept(self):
        self._do(f"ALTER ROLE {self._role} PASSWORD 'swordfish'")

    def _do(self, statement):
        return self._server.rows(statement, dbname=_DATABASE)

    def _tables(self):
        """
        Give the tables that have ids of events, each with the order of its rows.
        """
        found = self._do(
            "SELECT format('%I.%I ORDER BY id', nspname, relname) FROM pg_attribute "
            "JOIN pg_class ON attrelid = pg_class.oid JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE attname = 'event_id' AND relkind IN ('r', 'p') "
            "AND relpersistence = 'p' AND NOT relispartition"
        )
        return [table for (table,) in found]

    async def _prepared(self):
        sink = plugins.make_sink(SinkSettings("postgres", "postgres", self.options))
        await sink.open()
        await sink.close()

    def _wait_for_somebody(self):
        deadline = time.monotonic() + 10
        while not self._do("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert time.monotonic() < deadline, "nothing was sent"
            time.sleep(0.005)
