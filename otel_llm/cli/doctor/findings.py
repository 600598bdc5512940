"""
What the doctor found: sections of findings, each with a fix to copy where something is wrong.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from otel_llm.errors import Problem

Level = Literal["fact", "ok", "warning", "problem"]
"""A `problem` makes the doctor's exit code 1; a `warning` may be meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.
    """

    level: Level
    text: str
    fix: str | None = None
    """A command or a line to copy."""


@dataclass(frozen=True, slots=True)
class Section:
    """
    What was found about one part.
    """

    title: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """
    All that was found.
    """

    sections: tuple[Section, ...] = field(default_factory=tuple)

    @property
    def problems(self) -> int:
        """How many findings are problems."""
        return sum(finding.level == "problem" for section in self.sections for finding in section.findings)

    def document(self) -> dict[str, object]:
        """
        Give the report for JSON.
        """
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "sections": {section.title: [asdict(finding) for finding in section.findings] for section in self.sections},
        }


def section(title: str, findings: Iterable[Finding]) -> Section:
    """
    Collect findings under a title.
    """
    return Section(title, tuple(findings))


def of_problems(problems: Iterable[Problem]) -> Iterator[Finding]:
    """
    Give each problem of the settings as a finding.
    """
    for problem in problems:
        yield Finding("problem", str(problem), _fix(problem))


def _fix(problem: Problem) -> str:
    place, _, variable = problem.where.partition(" ")
    if place != "environment":
        return f"in {problem.where}: write {problem.nearest or problem.expected}"
    if problem.nearest and problem.nearest.startswith("OTEL_LLM_"):
        return f'export {problem.nearest}="${variable}"; unset {variable}'
    return f"export {variable}={problem.nearest}" if problem.nearest else f"unset {variable}  # or {problem.expected}"
