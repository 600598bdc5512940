"""What PostgreSQL and its client say, as what the courier can act on."""

import re
from typing import Final

import psycopg

from otel_llm.delivery.sink import Receipt, Rejected, Retry
from otel_llm.errors import NotDelivered, Unauthorized

_ABOUT_THE_RECORD: Final = ("22", "23", "54")
"""Data, integrity constraint, program limit: no better next time."""
_IN_ANOTHERS_WAY: Final = ("40", "55P03", "57014")
"""Deadlock or serialization, a lock, a time limit: better next time."""
_REFUSED: Final = ("28", "42501")
_GONE: Final[dict[str, str]] = {
    "25006": "takes no writes: it is a standby, or set to read only",
    "53100": "has no space left on its disk",
    "57P01": "is shutting down",
    "57P02": "has crashed, and starts again",
    "57P03": "is starting up or shutting down",
}

_REFUSAL: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist"
    r"|is not permitted to log in|permission denied for database|requires a valid client certificate"
)
"""libpq tells no SQLSTATE of a connection that failed; words in another language count as any failure to connect."""
_PREAMBLE: Final = re.compile(r"^.*?connection to server .*? failed: (?:FATAL: +)?|^(?:FATAL|ERROR): +")


def is_about_the_records(error: psycopg.Error) -> bool:
    """
    Tell whether one of the records is in the way of the others: it is there already, or will never be taken.
    """
    return (error.sqlstate or "").startswith(_ABOUT_THE_RECORD)


def receipt_for(error: psycopg.Error, host: str) -> Receipt:
    """
    Say what becomes of a batch; raises `NotDelivered` when the connection, or the server, is at fault.
    """
    state = error.sqlstate or ""
    if is_about_the_records(error):
        return Receipt(Rejected(f"PostgreSQL does not take it: {_facts(error)}"))
    if state.startswith(_IN_ANOTHERS_WAY):
        return Receipt(Retry(reason=f"PostgreSQL: {_facts(error)}"))
    raise failure(error, host) from error


def failure(error: psycopg.Error, host: str) -> NotDelivered:
    """
    Say why there is no connection, or why it is of no use.
    """
    state = error.sqlstate or ""
    if state.startswith(_REFUSED):
        return Unauthorized(f"PostgreSQL at {host} refuses: {_facts(error)}")
    if state:
        return NotDelivered(f"PostgreSQL at {host} {_GONE.get(state) or f'answers {_facts(error)}'}")
    told = _words(error)
    if _REFUSAL.search(told):
        return Unauthorized(f"PostgreSQL at {host} refuses: {told}")
    return NotDelivered(f"no connection to PostgreSQL at {host}: {told or type(error).__name__}")


def _facts(error: psycopg.Error) -> str:
    """
    Name the error, and what of the table it is about: its own words would quote the record.
    """
    about = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    return " ".join(filter(None, (type(error).__name__, error.sqlstate, *about)))


def _words(error: psycopg.Error) -> str:
    """
    Give the words about the last address that was tried.
    """
    told = [_PREAMBLE.sub("", line.strip("- \t")) for line in str(error).splitlines()]
    kept = [line for line in told if line and not line.startswith(("Is the server running", "Multiple connection"))]
    return kept[-1] if kept else ""
