"""`otel-llm tail`: the last calls, one line each, and with `-f` the next ones as they come."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from otel_llm.cli.database import add_database, database, missing
from otel_llm.formats.otel import from_otel
from otel_llm.telemetry.text import safe_json
from otel_llm.usage.sqlite import SqliteStore

POLL_SECONDS = 0.5


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command `tail`.
    """
    parser = subparsers.add_parser("tail", help="show the last calls, one line each")
    add_database(parser)
    parser.add_argument("-n", "--lines", type=int, default=20, metavar="N", help="how many calls to begin with (20)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with every call that is recorded")
    parser.add_argument("--json", action="store_true", help="print whole records, one JSON document a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print the calls; with `--follow` until interrupted.
    """
    path = database(args)
    if not args.follow and not path.is_file():
        raise missing(path)
    events = follow(path, args.lines) if args.follow else iter(SqliteStore(path).events(last=max(args.lines, 0)))
    show(events, as_json=args.json)
    return 0


def follow(path: Path, lines: int) -> Iterator[tuple[int, bytes]]:
    """
    Give the last records, then each new one; waits for a file that is not there yet.
    """
    store = SqliteStore(path)
    _wait(store)
    batch = store.events(last=max(lines, 1))
    last = batch[-1][0] if batch else 0
    yield from batch if lines > 0 else ()
    while True:
        time.sleep(POLL_SECONDS)
        for row, data in store.events(after=last):
            last = row
            yield row, data


def _wait(store: SqliteStore) -> None:
    if store.is_ready():
        return
    print(f"waiting for {store.path}", file=sys.stderr)
    while not store.is_ready():
        time.sleep(POLL_SECONDS)


def show(events: Iterable[tuple[int, bytes]], *, as_json: bool) -> None:
    """
    Print records, each at once; one that cannot be read is named on stderr.
    """
    write = safe_json if as_json else _line
    for row, data in events:
        try:
            text = write(data)
        except (msgspec.DecodeError, ValueError) as exc:
            print(f"record {row} cannot be read: {exc}", file=sys.stderr)
        else:
            print(text, flush=True)


def _line(data: bytes) -> str:
    from otel_llm.cli.terminal import has_colour
    from otel_llm.telemetry.line import render

    return render(from_otel(data), has_colour())
