"""A report as a table, as JSON and as CSV."""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from shutil import get_terminal_size
from typing import Any

import msgspec

from otel_llm.cli.terminal import has_colour
from otel_llm.pricing.money import dollars
from otel_llm.telemetry.text import clean, safe_json
from otel_llm.usage.summary import Summary

_UNKNOWN = "-"
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column of the table. One of a high rank goes first where the terminal is narrow; of rank 0, never.
    """

    title: str
    text: Callable[[Summary], str]
    rank: int = 0

    def shows(self, total: Summary) -> bool:
        """
        Tell whether there is anything to see in it.
        """
        return self.rank == 0 or self.text(total) not in _NOTHING


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _milliseconds(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{100 * value:.1f} %"


def _money(value: Decimal | None) -> str:
    return "unknown" if value is None else dollars(value)


COLUMNS = (
    Column("calls", lambda of: _count(of.calls)),
    Column("errors", lambda of: _count(of.errors)),
    Column("limited", lambda of: _count(of.rate_limited), 2),
    Column("cancelled", lambda of: _count(of.cancelled), 6),
    Column("retries", lambda of: _count(of.retries), 7),
    Column("input", lambda of: _count(of.input_tokens)),
    Column("cached", lambda of: _count(of.cache_read_tokens), 8),
    Column("cache hit", lambda of: _percent(of.cache_hit_ratio), 5),
    Column("cache write", lambda of: _count(of.cache_write_tokens), 10),
    Column("output", lambda of: _count(of.output_tokens)),
    Column("reasoning", lambda of: _count(of.reasoning_tokens), 9),
    Column("p50 ms", lambda of: _milliseconds(of.p50_ms), 4),
    Column("p95 ms", lambda of: _milliseconds(of.p95_ms), 3),
    Column("ttft ms", lambda of: _milliseconds(of.ttft_ms), 11),
    Column("cost", lambda of: _money(of.cost)),
    Column("unpriced", lambda of: _count(of.unpriced), 1),
)
_NOTHING = frozenset({"0", _UNKNOWN, "0.0 %"})


def as_table(by: str, groups: Sequence[Summary], total: Summary) -> str:
    """
    Give a table with the total last: fitted to the terminal where one reads, else with all that is known.
    """
    columns = [column for column in COLUMNS if column.shows(total)]
    rows = _rows(by, columns, groups, total)
    if not sys.stdout.isatty():
        return _aligned(rows)
    while (least := max(columns, key=lambda column: column.rank)).rank and _width(rows) > get_terminal_size().columns:
        columns.remove(least)
        rows = _rows(by, columns, groups, total)
    return (_ruled(rows) if has_colour() else None) or _aligned(rows)


def _rows(by: str, columns: Sequence[Column], groups: Sequence[Summary], total: Summary) -> list[list[str]]:
    head = ["" if by == "none" else by, *(column.title for column in columns)]
    body = [[_name(group), *(column.text(group) for column in columns)] for group in groups if by != "none"]
    return [head, *body, ["total", *(column.text(total) for column in columns)]]


def as_json(by: str, groups: Sequence[Summary], total: Summary) -> str:
    """
    Give one JSON document; money has all its digits.
    """
    document = {"by": by, "groups": [_facts(group) for group in groups], "total": _facts(total)}
    return safe_json(msgspec.json.format(msgspec.json.encode(document)))


def as_csv(by: str, groups: Sequence[Summary], _total: Summary) -> str:
    """
    Give CSV with a head line; text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([by, *list(_facts(Summary(None)))[1:]])
    for group in groups:
        writer.writerow([_inert(clean(group.group or "")), *map(_cell, list(_facts(group).values())[1:])])
    return target.getvalue().removesuffix("\n")


def _name(group: Summary) -> str:
    return "(none)" if group.group is None else clean(group.group)


def _facts(group: Summary) -> dict[str, Any]:
    return {
        "group": group.group,
        "calls": group.calls,
        "errors": group.errors,
        "rate_limited": group.rate_limited,
        "cancelled": group.cancelled,
        "retries": group.retries,
        "response_cache_hits": group.response_cache_hits,
        "input_tokens": group.input_tokens,
        "output_tokens": group.output_tokens,
        "cache_read_tokens": group.cache_read_tokens,
        "cache_write_tokens": group.cache_write_tokens,
        "reasoning_tokens": group.reasoning_tokens,
        "cache_hit_ratio": group.cache_hit_ratio,
        "cost_usd": None if group.cost is None else msgspec.Raw(f"{group.cost:f}".encode()),
        "unpriced": group.unpriced,
        "p50_ms": group.p50_ms,
        "p95_ms": group.p95_ms,
        "ttft_ms": group.ttft_ms,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value)


def _inert(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = _widths(rows)
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *cells = row
    return _GAP.join(
        [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))]
    )


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*rows, strict=True)]


def _width(rows: Sequence[Sequence[str]]) -> int:
    widths = _widths(rows)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _ruled(rows: Sequence[Sequence[str]]) -> str | None:
    """
    Draw the table with rich; None where it is not installed.
    """
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return None
    head, *body, foot = rows
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), show_footer=True, footer_style="bold")
    for number, (title, last) in enumerate(zip(head, foot, strict=True)):
        table.add_column(Text(title), Text(last), justify="right" if number else "left", no_wrap=number > 0)
    for row in body:
        table.add_row(*map(Text, row))
    console = Console()
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")
