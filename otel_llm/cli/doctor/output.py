"""
The doctor's report for people: in colour where rich is installed and a terminal is there, else plain.
"""

from collections.abc import Iterator
from typing import Final

from otel_llm.cli.doctor.findings import Finding, Level, Report
from otel_llm.cli.terminal import has_colour

_MARKS: Final[dict[Level, tuple[str, str]]] = {
    "fact": ("-", "dim"),
    "ok": ("ok", "green"),
    "warning": ("!", "yellow"),
    "problem": ("X", "bold red"),
}


def show(report: Report) -> None:
    """
    Print the report.
    """
    if not (has_colour() and _show_in_colour(report)):
        print("\n".join(_plain(report)))


def _plain(report: Report) -> Iterator[str]:
    for section in report.sections:
        yield section.title
        for finding in section.findings:
            yield f"  {_MARKS[finding.level][0]:>2}  {_clean(finding.text)}"
            if finding.fix:
                yield f"        fix: {_clean(finding.fix)}"
    yield ""
    yield _verdict(report)


def _show_in_colour(report: Report) -> bool:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return False
    console = Console(highlight=False)
    for section in report.sections:
        console.print(Text(section.title, style="bold"))
        for finding in section.findings:
            console.print(Text.assemble(*_spans(finding)), soft_wrap=True)
    console.print()
    console.print(Text(_verdict(report), style="bold red" if report.problems else "bold green"))
    return True


def _spans(finding: Finding) -> Iterator[tuple[str, str]]:
    mark, style = _MARKS[finding.level]
    yield f"  {mark:>2}  ", style
    yield _clean(finding.text), ""
    if finding.fix:
        yield "\n        fix: ", "dim"
        yield _clean(finding.fix), "cyan"


def _clean(text: str) -> str:
    """Take out control sequences: a server may have sent them."""
    return "".join(character if character.isprintable() else " " for character in text)


def _verdict(report: Report) -> str:
    if not report.problems:
        return "No problems found."
    return f"{report.problems} problem{'s' if report.problems > 1 else ''} found."
