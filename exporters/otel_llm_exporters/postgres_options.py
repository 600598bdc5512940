"""The options of the sink `postgres`, and how they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from otel_llm.settings.conversion import Count, Unfit, convert, read_integer, read_text
from otel_llm.settings.secret import Secret

LONGEST_NAME: Final = 63
"""Bytes of a name; PostgreSQL would cut a longer one and go on."""
LONGEST_PARTITIONED: Final = LONGEST_NAME - len("_20261121")


def read_name(raw: object) -> str:
    """
    Read the name of a table or a schema: any text that PostgreSQL can keep whole.
    """
    name = read_text(raw)
    if not 0 < len(name.encode(errors="replace")) <= LONGEST_NAME or "\0" in name or not _is_unicode(name):
        raise Unfit(f"a name of 1 to {LONGEST_NAME} bytes")
    return name


def read_dsn(raw: object) -> Secret:
    """
    Read a connection string, as a URL or as libpq's words.
    """
    dsn: Secret = convert(raw, Secret)
    if not _is_dsn(dsn.reveal()):
        raise Unfit("a connection string such as postgresql://user@db.example.com:5432/llm")
    return dsn


def read_days(raw: object) -> int:
    """
    Read a number of days, 0 for all of them.
    """
    days = read_integer(raw)
    if days < 0:
        raise Unfit("a number of days, or 0 for ever")
    return days


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """
    Options of the sink `postgres`.

    ```yaml
    sinks:
      postgres:
        dsn: postgresql://llm@db.example.com/telemetry
        sslmode: verify-full
    ```

    ```yaml
    sinks:
      postgres:
        host: db.example.com
        dbname: telemetry
        user: llm
        password_file: /run/secrets/postgres
        partition: day
        retention_days: 90
    ```

    ```yaml wrong
    sinks:
      postgres: {dsn: "postgresql://llm:swordfish@db.example.com:port/telemetry"}
    ```

    ```yaml wrong
    sinks:
      postgres: {host: db.example.com, sslmode: always}
    ```

    ```yaml wrong
    sinks:
      postgres: {host: db.example.com, table: a_name_that_is_so_long_that_postgresql_would_cut_off_the_end_of_it}
    ```

    ```yaml wrong
    sinks:
      postgres: {host: db.example.com, retention_days: 90}
    ```

    ```yaml wrong
    sinks:
      postgres: {host: db.example.com, format: otlp_proto}
    ```
    """

    dsn: Annotated[Secret, read_dsn] = Secret("")  # noqa: RUF009 - a Secret never changes
    """A connection string; the options below win over what it says. What neither says is looked for where libpq does:
    `PGHOST` and its kin, `~/.pgpass`, a service file."""
    host: str = ""
    """The server; several by comma are tried in order."""
    port: Count | None = None
    """Its port."""
    dbname: str = ""
    """The database; it has to exist."""
    user: str = ""
    """The role."""
    password: Secret = Secret("")  # noqa: RUF009 - same
    """Its password."""
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    """`verify-full` is the one mode that knows the server from an impostor; libpq's own default is `prefer`."""
    sslrootcert: Path | None = None
    """PEM file of the authorities to trust, for `verify-ca` and `verify-full`."""
    sslcert: Path | None = None
    """PEM file of a client certificate."""
    sslkey: Path | None = None
    """PEM file of its private key."""
    table: Annotated[str, read_name] | None = None
    """The table; made where it is missing. By default `llm_calls`, with another format than `otel` `llm_logs`."""
    schema: Annotated[str, read_name] | None = None
    """Its schema, made where it is missing; by default the first of the role's `search_path`."""
    format: Literal["otel", "gateway_log", "analytics", "usage"] = "otel"
    """`otel` fills the columns of `llm_calls`; the others are kept whole, in `log_data`."""
    partition: Literal["none", "day", "hypertable"] = "none"
    """How a new table is made: in one piece, with a partition for each day, or as a hypertable of TimescaleDB; a table
    that is there has to be so, but `none` takes any."""
    retention_days: Annotated[int, read_days] = 0
    """Partitions, or a hypertable's chunks, that are older are dropped; 0 keeps them for ever."""
    pool_size: Count = 5
    """Connections at most; a batch on its way needs one, so `async_workers` decides how many there are."""
    timeout_ms: Count = 10_000
    """Longest time to connect to one server, in milliseconds."""

    def __post_init__(self) -> None:
        if self.retention_days and self.partition == "none":
            raise ValueError("partition: day or hypertable beside retention_days")
        if self.partition == "day" and len(self.table_name.encode()) > LONGEST_PARTITIONED:
            raise ValueError(f"a table of at most {LONGEST_PARTITIONED} bytes beside partition: day")
        for name in ("sslrootcert", "sslcert", "sslkey"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"a file that exists in {name}")

    @property
    def table_name(self) -> str:
        """The table's name."""
        return self.table or ("llm_calls" if self.format == "otel" else "llm_logs")

    def arguments(self) -> dict[str, Any]:
        """
        Give what libpq is told, without the connection string.
        """
        given = {
            "host": self.host,
            "port": self.port,
            "dbname": self.dbname,
            "user": self.user,
            "password": self.password.reveal(),
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
            "sslcert": self.sslcert,
            "sslkey": self.sslkey,
        }
        told = {name: str(value) for name, value in given.items() if value}
        seconds = max(-(-self.timeout_ms // 1000), 2)  # libpq takes no less
        return {"connect_timeout": seconds, **told, "client_encoding": "UTF8"}


def _is_dsn(text: str) -> bool:
    try:
        told = conninfo_to_dict(text)
    except (ProgrammingError, UnicodeError):
        return False
    # libpq looks at ports only when it connects.
    return all(port.isdecimal() for port in str(told.get("port") or "0").split(","))


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
