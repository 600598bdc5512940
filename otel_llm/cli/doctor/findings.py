"""
What the doctor found: sections of findings, each with a fix to copy where something is wrong.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from otel_llm.errors import Problem
from otel_llm.settings.table import PREFIX

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


def of_problems(problems: Iterable[Problem], prefix: str = PREFIX) -> Iterator[Finding]:
    """
    Give each problem of the settings as a finding; `prefix` begins the variables of the options it is about.
    """
    for problem in problems:
        yield Finding("problem", str(problem), _fix(problem, prefix))


def _fix(problem: Problem, prefix: str) -> str:
    place, _, variable = problem.where.partition(" ")
    if place != "environment":
        return f"in {problem.where}: write {problem.nearest or problem.expected}"
    if problem.nearest is None:
        return f"unset {variable}  # or {problem.expected}"
    if problem.found in _UNKNOWN_NAMES:
        right = problem.nearest if problem.nearest.startswith(PREFIX) else prefix + problem.nearest.upper()
        return f'export {right}="${variable}"; unset {variable}'
    return f"export {variable}={_corrected(os.environ.get(variable, ''), problem.found, problem.nearest)}"


_UNKNOWN_NAMES: Final = {"an unknown variable", "an unknown option"}


def _corrected(value: str, found: str, right: str) -> str:
    """Replace one name in a list of names."""
    wrong = re.search("'(.+)'", found)
    corrected = re.sub(rf"(?<![\w-]){re.escape(wrong[1])}(?![\w-])", right, value) if wrong else value
    return corrected if corrected != value else right
