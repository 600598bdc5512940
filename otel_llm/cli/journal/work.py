"""Errands of the command line: shown while they are done, summed up at the end."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from otel_llm import pipeline
from otel_llm.cli import table
from otel_llm.cli.scope import Scope
from otel_llm.cli.units import many
from otel_llm.delivery import errand
from otel_llm.delivery.errand import Errand
from otel_llm.delivery.packer import Reprice

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_SECONDS = 30.0


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


def summary(errands: Sequence[Errand]) -> None:
    """
    Print what became of the records.
    """
    head = ("service", "sink", "delivered", "left out", "dead", "lost", "stay")
    rows = []
    for each in errands:
        stats = each.stats
        counts = (stats.events_sent, stats.filtered, stats.dead, stats.dropped, stats.pending_events)
        rows.append((each.service, each.sink, *(f"{count:,}" for count in counts)))
    if rows:
        table.show(head, rows, right=range(2, len(head)))


def document(errands: Sequence[Errand]) -> list[dict[str, object]]:
    """
    Give the same for JSON.
    """
    return [
        {
            "service": each.service,
            "sink": each.sink,
            "delivered": each.stats.events_sent,
            "filtered": each.stats.filtered,
            "dead": each.stats.dead,
            "dropped": each.stats.events_dropped,
            "stay": each.stats.pending_events,
            "last_error": each.stats.last_error,
        }
        for each in errands
    ]


def add_patience(parser: argparse.ArgumentParser) -> None:
    """
    Add the option `--patience`.
    """
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help=f"give up when no sink took anything for so long ({PATIENCE_SECONDS:g})",
    )


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
