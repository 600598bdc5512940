"""
Plugins by name: the only place that imports a sink's, client's or dialect's file.

The names come from entry points, so the core never imports a plugin itself; a sink's file, which imports its client at
the top, is loaded only when that sink is made.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Final

from otel_llm import diagnostics
from otel_llm.entry_points import conflicts, distribution, entry_points
from otel_llm.errors import MissingExtra, Problem, SettingsError, UnknownPlugin
from otel_llm.settings import SinkSettings, read_options
from otel_llm.settings.conversion import listed, nearest

if TYPE_CHECKING:
    from otel_llm.capture.dialect import Dialect
    from otel_llm.delivery.sink import BlockingSink, Sink

SINKS: Final = "otel_llm_sink"
DIALECTS: Final = "otel_llm_dialect"
CLIENTS: Final = "otel_llm_client"


def names(group: str) -> tuple[str, ...]:
    """
    Give the names of the installed plugins of a group.
    """
    return tuple(sorted(entry_points(group)))


def sink_class(type_name: str) -> "type[Sink | BlockingSink]":
    """
    Import a sink's file and give its class; raises `UnknownPlugin` or `MissingExtra`.
    """
    diagnostics.report(conflicts(SINKS))
    known = entry_points(SINKS)
    if type_name not in known:
        raise UnknownPlugin(_unknown("sink", type_name, known))
    try:
        loaded: type[Sink | BlockingSink] = known[type_name].load()
    except Exception as error:
        raise load_error(known[type_name], error) from error
    return loaded


def make_sink(sink: SinkSettings) -> "Sink | BlockingSink":
    """
    Make a sink from its settings; raises `UnknownPlugin`, `MissingExtra`, or `SettingsError` with all that is wrong.
    """
    made = sink_class(sink.type)
    options, problems = read_options(made.Options, _own(made.Options, sink), f"sinks.{sink.name}", sink.origins)
    if problems:
        raise SettingsError(problems)
    return made(options)


def check_sink(sink: SinkSettings) -> tuple[Problem, ...]:
    """
    Say what is wrong with a sink's settings; imports its file.
    """
    try:
        options_class = sink_class(sink.type).Options
    except (UnknownPlugin, MissingExtra) as error:
        return (Problem(f"sinks.{sink.name}", f"the sink {sink.type!r}, which cannot be loaded", str(error)),)
    return read_options(options_class, _own(options_class, sink), f"sinks.{sink.name}", sink.origins)[1]


def _own(options_class: type[Any], sink: SinkSettings) -> Mapping[str, object]:
    """
    Give the options that a sink reads: its own, and `format` where it has an option of that name, too.
    """
    told = {"format": sink.common.format} if sink.common.format and hasattr(options_class, "format") else {}
    return {**told, **sink.options}


def load_error(entry_point: EntryPoint, error: Exception) -> MissingExtra | UnknownPlugin:
    """
    Say why a sink's file could not be imported: it is broken, or its client is missing.
    """
    name, package = entry_point.name, distribution(entry_point)
    if not _lacks_client(entry_point, error):
        return UnknownPlugin(f"the {name} sink of {package} cannot be loaded: {type(error).__name__}: {error}")
    if has_extra(package, name):
        return MissingExtra(f"the {name} sink needs its client: pip install '{package}[{name}]'")
    return MissingExtra(f"the {name} sink needs its client, which cannot be imported: {error}")


def has_extra(package: str, name: str) -> bool:
    """
    Say whether a package has an extra for its plugin of that name.
    """
    try:
        extras = metadata.metadata(package).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return False
    return re.sub(r"[-_.]+", "-", name) in {re.sub(r"[-_.]+", "-", extra) for extra in extras}


@cache
def dialects() -> "tuple[Dialect, ...]":
    """
    Give one of each installed dialect; one that cannot be made is reported and left out.
    """
    diagnostics.report(conflicts(DIALECTS))
    made = (_made(entry_point) for entry_point in entry_points(DIALECTS).values())
    return tuple(dialect for dialect in made if dialect is not None)


@cache
def clients() -> Mapping[str, Any]:
    """
    Give the installed client plugins by name; one that cannot be loaded is reported and left out.
    """
    diagnostics.report(conflicts(CLIENTS))
    loaded = {name: _loaded(entry_point) for name, entry_point in entry_points(CLIENTS).items()}
    return {name: client for name, client in loaded.items() if client is not None}


def _made(entry_point: EntryPoint) -> "Dialect | None":
    try:
        made: Dialect = entry_point.load()()
    except Exception as error:  # noqa: BLE001 - anybody's plugin; the others must go on working
        _leave_out(entry_point, error)
        return None
    return made


def _loaded(entry_point: EntryPoint) -> Any:
    try:
        return entry_point.load()
    except Exception as error:  # noqa: BLE001 - anybody's plugin; the others must go on working
        _leave_out(entry_point, error)
        return None


def _leave_out(entry_point: EntryPoint, error: Exception) -> None:
    kind = entry_point.group.removeprefix("otel_llm_")
    diagnostics.warn_once(
        f"{entry_point.group} {entry_point.name}",
        f"the {kind} {entry_point.name!r} of {distribution(entry_point)} is left out: {type(error).__name__}: {error}",
    )


def _unknown(kind: str, name: str, known: Mapping[str, EntryPoint]) -> str:
    suggestion = nearest(name, known)
    hint = f" (did you mean {suggestion!r}?)" if suggestion else ""
    return (
        f"no installed package provides the {kind} {name!r}{hint}; known: {listed(sorted(known)) if known else 'none'}"
    )


def _lacks_client(entry_point: EntryPoint, error: Exception) -> bool:
    missing = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return missing not in {"", "otel_llm", entry_point.module.partition(".")[0]}
