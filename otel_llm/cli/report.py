"""`otel-llm report`: what was spent, on what, how fast it was and what failed; days and hours are those of UTC."""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from otel_llm.cli.database import add_database, database, missing
from otel_llm.cli.report_output import as_csv, as_json, as_table
from otel_llm.errors import Problem, SettingsError
from otel_llm.settings.conversion import Unfit, read_duration
from otel_llm.settings.secret import Secret
from otel_llm.usage.jsonl import JsonlStore
from otel_llm.usage.query import Query, Store
from otel_llm.usage.sqlite import SqliteStore
from otel_llm.usage.summary import GROUPS, grouping, summarise

_MOMENT = "a date, a time (ISO 8601, UTC unless it says otherwise) or how long ago, as 7d or 12h"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command `report`.
    """
    parser = subparsers.add_parser("report", help="sum up spend, tokens, latency and errors")
    parser.add_argument(
        "by", nargs="?", default="model", metavar="by", help=f"{', '.join(GROUPS)} or label.<key> (default: model)"
    )
    _add_stores(parser.add_argument_group("where the calls are"))
    _add_filters(parser.add_argument_group("which calls count"))
    _add_output(parser.add_argument_group("how it is shown"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print the report.
    """
    grouping(args.by)
    asked, store = query(args), _store(args)
    groups, total = summarise(store.calls(asked), args.by)
    end = None if args.limit is None else args.offset + args.limit
    print(args.write(args.by, groups[args.offset : end], total))
    if isinstance(store, JsonlStore) and store.unreadable:
        print(f"{store.unreadable} lines could not be read", file=sys.stderr)
    return 0


def query(args: argparse.Namespace) -> Query:
    """
    Give the question that the options ask.
    """
    return Query(
        since=None if args.since is None else moment(args.since, "--since"),
        until=None if args.until is None else moment(args.until, "--until", end_of_day=True),
        provider=args.provider,
        model=args.model,
        key=args.key,
        success=args.success,
        user=args.user,
        session=args.session,
        project=args.project,
        labels=dict(map(_label, args.label)),
    )


def moment(text: str, where: str, *, end_of_day: bool = False) -> datetime:
    """
    Read a moment or how long ago it was; a bare date is its first instant, or that of the day after.
    """
    try:
        return _date_or_time(text, end_of_day=end_of_day)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=read_duration(text))
    except (Unfit, OverflowError):
        raise SettingsError([Problem(where, repr(text), _MOMENT)]) from None


def _date_or_time(text: str, *, end_of_day: bool) -> datetime:
    read = datetime.fromisoformat(text)
    aware = read if read.tzinfo else read.replace(tzinfo=UTC)
    is_date = len(text) <= len("2026-11-03")
    return aware + timedelta(days=1) if is_date and end_of_day else aware


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise SettingsError([Problem("--label", repr(text), "key=value")])
    return key, value


def _store(args: argparse.Namespace) -> Store:
    if args.from_jsonl is not None:
        return JsonlStore(args.from_jsonl)
    if args.from_postgres is not None:
        from otel_llm.usage.postgres import PostgresStore

        return PostgresStore(Secret(args.from_postgres))
    path = database(args)
    if not path.is_file():
        raise missing(path)
    return SqliteStore(path)


def _add_stores(group: "argparse._ArgumentGroup") -> None:
    stores = group.add_mutually_exclusive_group()
    add_database(stores)
    stores.add_argument("--from-jsonl", type=Path, metavar="DIR", help="the folder of the JSONL stores")
    stores.add_argument(
        "--from-postgres",
        metavar="DSN",
        help="a PostgreSQL database, such as postgresql://llm@db.example.com/telemetry",
    )


def _add_filters(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--since", metavar="WHEN", help=_MOMENT)
    group.add_argument("--until", metavar="WHEN", help="the same, exclusive; a date includes its whole day")
    group.add_argument("--model", help="the requested or the answering model")
    group.add_argument("--provider", help="gen_ai.provider.name, or the short name")
    group.add_argument(
        "--key", metavar="HASH", help="the beginning of the key's SHA-256; with --from-jsonl or its name"
    )
    group.add_argument("--user", metavar="ID")
    group.add_argument("--session", metavar="ID")
    group.add_argument("--project", metavar="ID")
    group.add_argument("--label", metavar="KEY=VALUE", action="append", default=[], help="may be given several times")
    outcome = group.add_mutually_exclusive_group()
    outcome.add_argument(
        "--errors", dest="success", action="store_false", default=None, help="only what did not succeed"
    )
    outcome.add_argument("--success", dest="success", action="store_true", default=None, help="only what succeeded")


def _add_output(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--limit", type=int, metavar="N", help="at most N groups; the total is that of all")
    group.add_argument("--offset", type=int, default=0, metavar="N", help="pass over the first N groups")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--json", dest="write", action="store_const", const=as_json, default=as_table, help="print JSON")
    kind.add_argument("--csv", dest="write", action="store_const", const=as_csv, help="print CSV, without the total")
