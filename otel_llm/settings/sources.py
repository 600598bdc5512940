"""
Places that hold settings, each flattened to paths: `("batch_size",)`, `("sinks", "kafka", "topic")`.

The path `("sinks",)` holds which sinks are on; `("sink_types", "sqlite", "path")` fills that option of any SQLite sink.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_llm.settings import aliases
from otel_llm.settings.options import FILE_SUFFIX
from otel_llm.settings.table import PREFIX, environment_name

Path = tuple[str, ...]

SECTIONS: Final = ("api", "gateway")
"""Settings that are a group of options, read by the part that uses them."""


@dataclass(frozen=True, slots=True)
class Given:
    """
    A raw value with where it came from, and where exactly it stands.
    """

    value: object = field(repr=False)
    origin: str
    where: str


Source = Mapping[Path, Given]


def document_source(document: Mapping[str, object], origin: str) -> Source:
    """
    Flatten a file, or what code says, under our names.
    """
    return {path: Given(value, origin, f"{origin}: {key}") for key, path, value in _flat(document) if value is not None}


def other_document_source(document: Mapping[str, object], origin: str) -> Source:
    """
    Flatten what the same document says under other systems' names.
    """
    names = aliases.other_names(document)
    return {path: Given(value, origin, f"{origin}: {key}") for key, path, value in names if value is not None}


def variable_source(environ: Mapping[str, str], settings: Iterable[str]) -> Source:
    """
    Give the settings that the environment holds.
    """
    names = {environment_name(setting): (setting,) for setting in settings}
    return {path: _variable(environ, name) for name, path in names.items() if environ.get(name, "").strip()}


def option_variable_source(environ: Mapping[str, str], owners: Iterable[Path]) -> Source:
    """
    Give the options of sinks and sections that the environment holds; the longest name that fits owns a variable.
    """
    prefixes = {environment_prefix(owner[-1]): owner for owner in owners}
    found: dict[Path, Given] = {}
    for name in environ:
        fitting = [prefix for prefix in prefixes if name.startswith(prefix) and len(name) > len(prefix)]
        if fitting and environ[name].strip():
            prefix = max(fitting, key=len)
            found[*prefixes[prefix], name.removeprefix(prefix).lower()] = _variable(environ, name)
    return found


def other_variable_source(environ: Mapping[str, str]) -> Source:
    """
    Give what the environment holds under other systems' names.
    """
    names: dict[Path, str] = {(setting,): name for setting, name in aliases.SETTING_VARIABLES.items()}
    for section, options in aliases.SECTION_VARIABLES.items():
        names |= {(section, option): name for option, name in options.items()}
    for kind, options in aliases.SINK_VARIABLES.items():
        names |= {("sink_types", kind, option): name for option, name in options.items()}
    return {path: _variable(environ, name) for path, name in names.items() if environ.get(name, "").strip()}


def environment_prefix(sink: str) -> str:
    """
    Give what the environment variables of a sink's options begin with.
    """
    return f"{PREFIX}{re.sub('[^A-Z0-9]', '_', sink.upper())}_"


def merged(sources: Iterable[Source], owners: Iterable[Path]) -> dict[str, Given]:
    """
    Put the options of an owner together; the first source that gives one wins, also over its `_file` twin.
    """
    chosen: dict[str, Given] = {}
    for owner in owners:
        for source in sources:
            taken = {option.removesuffix(FILE_SUFFIX) for option in chosen}
            own = {_our_name(path): given for path, given in source.items() if path[:-1] == owner}
            chosen |= {name: given for name, given in own.items() if name.removesuffix(FILE_SUFFIX) not in taken}
    return chosen


def _our_name(path: Path) -> str:
    return aliases.SINK_OPTIONS.get(path[-1], path[-1])


def _variable(environ: Mapping[str, str], name: str) -> Given:
    return Given(environ[name].strip(), f"environment {name}", f"environment {name}")


def _flat(document: Mapping[str, object]) -> Iterator[tuple[str, Path, object]]:
    for key, value in document.items():
        name = aliases.snake_case(key)
        if aliases.is_other_name(key):
            continue
        if name == "sinks" and isinstance(value, Mapping):
            yield key, ("sinks",), tuple(map(str, value))
            for sink, options in value.items():
                yield from _options(f"{key}.{sink}", ("sinks", str(sink)), options)
        elif name in SECTIONS:
            yield from _options(key, (name,), value)
        else:
            yield key, (name,), value


def _options(key: str, owner: Path, options: object) -> Iterator[tuple[str, Path, object]]:
    if not isinstance(options, Mapping):
        yield key, (*owner, ""), options
        return
    for option, value in options.items():
        yield f"{key}.{option}", (*owner, aliases.snake_case(str(option))), value
