"""A table for people: with rich where that is installed and a terminal reads, else aligned by blanks."""

from collections.abc import Collection, Sequence

from otel_llm.cli.terminal import has_colour
from otel_llm.telemetry.text import clean

_GAP = "  "

Row = Sequence[str]


def show(head: Row, rows: Sequence[Row], *, right: Collection[int] = ()) -> None:
    """
    Print rows under a head; the columns numbered in `right` are set flush right.
    """
    cleaned = [[clean(cell) for cell in row] for row in rows]
    if not (has_colour() and _show_in_colour(head, cleaned, right)):
        print("\n".join(_aligned([head, *cleaned], right)))


def _aligned(rows: Sequence[Row], right: Collection[int]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        _GAP.join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _show_in_colour(head: Row, rows: Sequence[Row], right: Collection[int]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0))
    for number, title in enumerate(head):
        table.add_column(Text(title), justify="right" if number in right else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True
