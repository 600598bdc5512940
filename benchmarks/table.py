"""
Figures as people read them: aligned, and Markdown at the same time.
"""

import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from os import cpu_count, getloadavg


def render(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Give a Markdown table whose columns are aligned.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(line, widths) for line in (lines[0], rule, *lines[1:]))


def number(value: float | None, digits: int = 1) -> str:
    """
    Give a figure, or a dash where there is none.
    """
    return "-" if value is None else f"{value:.{digits}f}"


def machine() -> str:
    """
    Say where and when the figures were made, and how busy the machine was.
    """
    now = datetime.now(UTC).date().isoformat()
    model = f", {name}" if (name := _processor()) else ""
    load = f"load {getloadavg()[2]:.1f} over 15 minutes"
    return f"{now}, {cpu_count()} cores{model}, {platform.system()}, Python {platform.python_version()}, {load}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cells[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def _processor() -> str:
    try:
        told = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return platform.processor()
    found = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    return found.get("Model name", "").strip()
