"""
What installed packages offer under a name: the entry points, read once per process.
"""

from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint
from types import MappingProxyType

from otel_llm.errors import Problem


def entry_points(group: str) -> Mapping[str, EntryPoint]:
    """
    Give the entry points of a group by name; where two packages claim a name, the first.
    """
    return _read(group)[0]


def conflicts(group: str) -> tuple[Problem, ...]:
    """
    Say which names of a group several packages claim.
    """
    return _read(group)[1]


def distribution(entry_point: EntryPoint) -> str:
    """
    Give the name of the package that offers an entry point.
    """
    return entry_point.dist.name if entry_point.dist else "an unknown package"


@cache
def _read(group: str) -> tuple[Mapping[str, EntryPoint], tuple[Problem, ...]]:
    chosen: dict[str, EntryPoint] = {}
    problems = []
    for candidate in metadata.entry_points(group=group):
        first = chosen.setdefault(candidate.name, candidate)
        if first.value != candidate.value:
            problems.append(_conflict(group, first, candidate))
    return MappingProxyType(chosen), tuple(problems)


def _conflict(group: str, first: EntryPoint, second: EntryPoint) -> Problem:
    return Problem(
        f"entry point {second.name!r} in {group}",
        f"{distribution(first)} ({first.value}) and {distribution(second)} ({second.value}); the first is used",
        "one package for one name",
    )
