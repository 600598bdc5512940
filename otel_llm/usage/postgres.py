"""Reads the table `llm_calls` of a PostgreSQL database, without ever writing to it."""

from collections.abc import Iterable, Iterator

from otel_llm.errors import StoreError
from otel_llm.settings.secret import Secret
from otel_llm.usage.query import CallRow, Query
from otel_llm.usage.schema import COLUMNS, lacking
from otel_llm.usage.sql import REPEATED, Dialect, call, selection

_DIALECT = Dialect(
    mark="%({})s",
    ended_at="to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')",
    moment="({}::timestamp AT TIME ZONE 'UTC')",
    label="labels->>{key} = {value}",
)

_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = 'llm_calls'::regclass AND attnum > 0 AND NOT attisdropped"""


class PostgresStore:
    """
    The calls in the first schema of a connection's `search_path` that has them.
    """

    def __init__(self, dsn: Secret) -> None:
        self._dsn = dsn

    def calls(self, query: Query) -> Iterator[CallRow]:
        """
        Give the calls that fit; raises `StoreError` when they cannot be read.
        """
        try:
            import psycopg
            from psycopg.rows import dict_row
        except ImportError:
            raise StoreError("PostgreSQL is read by its client: pip install 'otel-llm[postgres]'") from None
        statement, values = selection(query, _DIALECT)
        try:
            with psycopg.connect(self._dsn.reveal(), row_factory=dict_row) as connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                older = _older(row["attname"] for row in connection.execute(_COLUMNS))
                once = {row["response_id"]: row for row in connection.execute(f"{older}{REPEATED}".encode())}
                with connection.cursor("calls") as cursor:
                    for row in cursor.execute(f"{older}{statement}".encode(), values):
                        yield call(row, once)
        except psycopg.errors.UndefinedTable:
            raise StoreError("no records yet: this database has no table llm_calls") from None
        except psycopg.Error as error:
            # What is said about a malformed connection string would quote it, and its password.
            malformed = isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
            told = "that is no connection string such as postgresql://host/db" if malformed else _words(error)
            raise StoreError(f"PostgreSQL cannot be read: {told}") from None


def _older(columns: Iterable[str]) -> str:
    """
    Give what goes before a statement where the table is of an older version: the columns that it lacks, as NULL.
    """
    kinds = {name: COLUMNS[name][0] for name in lacking({*columns}, "this database")}
    nulls = [f"NULL::{'jsonb' if kind == 'json' else 'text'} AS {name}" for name, kind in kinds.items()]
    return f"WITH llm_calls AS (SELECT *, {', '.join(nulls)} FROM llm_calls) " if nulls else ""  # noqa: S608 - our names


def _words(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
