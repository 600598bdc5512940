"""Errands of the command line: shown while they are done, summed up at the end."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from otel_llm import pipeline
from otel_llm.cli import table
from otel_llm.cli.scope import Scope, add_folder, add_services, add_sinks
from otel_llm.cli.units import many
from otel_llm.delivery import errand
from otel_llm.delivery.errand import Errand
from otel_llm.delivery.packer import Reprice
from otel_llm.telemetry.text import clean

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_SECONDS = 30.0
_HEAD = ("service", "sink", "delivered", "left out", "dead", "lost", "stay")


def add_options(parser: argparse.ArgumentParser) -> None:
    """
    Add the options of what delivers and then ends.
    """
    add_folder(parser)
    add_services(parser)
    add_sinks(parser)
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help=f"give up when no sink took anything for so long ({PATIENCE_SECONDS:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def repricing(scope: Scope) -> Reprice:
    """
    Give what prices calls that ended before the price book had been loaded.
    """
    return partial(pipeline.reprice, pipeline.price_book(scope.loaded))


def do(errands: Sequence[Errand], patience: float) -> None:
    """
    Do the errands, with a bar for each on a terminal.
    """
    if not errands:
        return
    with _bars(errands) as tick:
        errand.run(errands, patience=patience, tick=tick)


def tell(errands: Sequence[Errand], left: Sequence[str], nothing: str, *, as_json: bool) -> int:
    """
    Print what became of the records and what is left, else `nothing`; gives the exit code.
    """
    if as_json:
        print(json.dumps({"empty": not left, "sinks": list(map(_document, errands)), "left": list(left)}))
        return 1 if left else 0
    if errands:
        table.show(_HEAD, list(map(_row, errands)), right=range(2, len(_HEAD)))
    print("\n".join(f"left: {clean(line)}" for line in left) or nothing)
    return 1 if left else 0


def unfinished(errands: Sequence[Errand], patience: float) -> Iterator[str]:
    """
    Say what stays although there is a sink for it, and why.
    """
    for each in errands:
        stats = each.stats
        if stats.pending_events:
            count = many(stats.pending_events, "record")
            reason = stats.last_error or f"nothing was taken for {patience:g} s"
            yield f"{each.service} to {each.sink}: {count}: {reason}"


def _row(each: Errand) -> tuple[str, ...]:
    stats = each.stats
    counts = (stats.events_sent, stats.filtered, stats.dead, stats.dropped, stats.pending_events)
    return (each.service, each.sink, *(f"{count:,}" for count in counts))


def _document(each: Errand) -> dict[str, object]:
    stats = each.stats
    return {
        "service": each.service,
        "sink": each.sink,
        "delivered": stats.events_sent,
        "filtered": stats.filtered,
        "dead": stats.dead,
        "dropped": stats.events_dropped,
        "stay": stats.pending_events,
        "last_error": stats.last_error,
    }


@contextlib.contextmanager
def _bars(errands: Sequence[Errand]) -> Iterator[Callable[[], None]]:
    progress = _rich() if sys.stderr.isatty() else None
    if progress is None:
        yield lambda: None
        return
    bars = {each: progress.add_task(f"{each.service} to {each.sink}", total=each.total) for each in errands}

    def tick() -> None:
        for each, bar in bars.items():
            progress.update(bar, completed=each.settled)

    with progress:
        yield tick


def _rich() -> "Progress | None":
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True))
