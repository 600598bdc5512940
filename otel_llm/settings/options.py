"""
An options dataclass filled from raw values: every plugin's options are read here.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from otel_llm.errors import Problem
from otel_llm.settings.conversion import Unfit, convert, listed, nearest, shown

Options = TypeVar("Options")

FILE_SUFFIX = "_file"
"""`password_file` names the file that holds `password`."""


def read_options(
    options_class: type[Options],
    raw: Mapping[str, object],
    where: str,
    origins: Mapping[str, str] | None = None,
) -> tuple[Options | None, tuple[Problem, ...]]:
    """
    Build `options_class` from raw values, or say everything that is wrong with them.

    Args:
        options_class: A dataclass whose fields are the options.
        raw: Values by option name, as they stand in the environment or a file; None counts as not given.
        where: What to call the place in a report, such as `sinks.kafka`.
        origins: Where single options came from, when that is known better.
    """
    reading = _Reading(options_class, where, origins or {})
    values = {name: value for name, value in raw.items() if value is not None}
    reading.resolve_files(values)
    for name, value in values.items():
        reading.read(name, value)
    reading.require(set(values))
    return reading.result()


def option_name(field: Field[Any]) -> str:
    """
    Give the name of the option that a field holds: `async_` is the option `async`, which no field can be called.
    """
    return field.name.removesuffix("_")


class _Reading:
    def __init__(self, options_class: type[Any], where: str, origins: Mapping[str, str]) -> None:
        self.options_class = options_class
        self.where = where
        self.origins = origins
        self.hints = get_type_hints(options_class, include_extras=True)
        self.fields = {option_name(field): field for field in fields(options_class) if field.init}
        self.arguments: dict[str, Any] = {}
        self.problems: list[Problem] = []

    def resolve_files(self, values: dict[str, object]) -> None:
        for name in [name for name in values if self.names_a_file(name)]:
            path = values.pop(name)
            try:
                values[name.removesuffix(FILE_SUFFIX)] = Path(str(path)).expanduser().read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError, RuntimeError) as error:
                self.report(name, f"a file that cannot be read ({_reason(error)})", "the path of a readable file")
                values[name.removesuffix(FILE_SUFFIX)] = None

    def names_a_file(self, name: str) -> bool:
        return name not in self.fields and name.endswith(FILE_SUFFIX) and name.removesuffix(FILE_SUFFIX) in self.fields

    def read(self, name: str, value: object) -> None:
        if name not in self.fields:
            known = listed(self.fields) if self.fields else "no options"
            self.report(name, "an unknown option", known, nearest(name, self.fields))
            return
        if value is None:
            return
        field = self.fields[name].name
        try:
            self.arguments[field] = convert(value, self.hints[field])
        except Unfit as unfit:
            self.report(name, shown(value, self.hints[field]), unfit.expected, unfit.nearest)

    def require(self, given: set[str]) -> None:
        for name, field in self.fields.items():
            if name not in given and field.default is MISSING and field.default_factory is MISSING:
                self.report(name, "nothing", "a value, as it has no default")

    def report(self, name: str, found: str, expected: str, suggestion: str | None = None) -> None:
        self.problems.append(Problem(self.origins.get(name, f"{self.where}.{name}"), found, expected, suggestion))

    def result(self) -> tuple[Any | None, tuple[Problem, ...]]:
        if self.problems:
            return None, tuple(self.problems)
        try:
            return self.options_class(**self.arguments), ()
        except ValueError as error:
            return None, (Problem(self.where, "options that do not go together", str(error)),)


def _reason(error: Exception) -> str:
    return error.strerror or "unreadable" if isinstance(error, OSError) else "not text"
