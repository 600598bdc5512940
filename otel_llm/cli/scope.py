"""What a command is about: the settings, and a part of a journal directory."""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_llm import diagnostics
from otel_llm.delivery import setup
from otel_llm.delivery.backlog import Group, groups, sink_name
from otel_llm.delivery.route import where_problems
from otel_llm.delivery.spec import SinkSpec
from otel_llm.entry_points import entry_points
from otel_llm.errors import JournalError, Problem
from otel_llm.settings import Loaded, SinkSettings, load
from otel_llm.settings.sources import environment_prefix


@dataclass(frozen=True, slots=True)
class Scope:
    """
    A journal directory, the sinks of the settings, and which services and sinks were asked for.
    """

    folder: Path
    loaded: Loaded
    specs: Mapping[str, SinkSpec]
    """The settings' sinks by the names of their cursors."""
    services: frozenset[str] | None = None
    """None: all."""
    sinks: frozenset[str] | None = None
    """None: all."""

    def groups(self) -> list[Group]:
        """
        Give the groups of the services that were asked for.
        """
        return [group for group in self.all_groups() if self.covers(group)]

    def all_groups(self) -> list[Group]:
        """
        Give the groups of every service.
        """
        try:
            return groups(self.folder)
        except OSError as error:
            raise JournalError(f"{self.folder} cannot be read: {error.strerror}") from error

    def covers(self, group: Group) -> bool:
        """
        Tell whether a group's service was asked for.
        """
        return self.services is None or group.service in self.services

    def wants(self, key: str) -> bool:
        """
        Tell whether a sink was asked for, by the name of its cursor.
        """
        return self.sinks is None or sink_name(key) in self.sinks

    def why_not(self, key: str) -> str | None:
        """
        Say why nothing can be delivered to a sink; None when it is one of the settings'.
        """
        if key in self.specs:
            return None
        name = sink_name(key)
        if self._has_mistakes(name):
            return f"what is set for {name} has mistakes"
        if not self.names(name):
            return f"no sink {name} in the settings"
        local = any(sink.type in setup.LOCAL for sink in self.loaded.sinks if sink.name == name)
        hint = " (a relative path counts from this folder)" if local else ""
        return f"the settings send {name} to another place than these records are for{hint}"

    def names(self, sink: str) -> bool:
        """
        Tell whether the settings name a sink, be it with mistakes.
        """
        return any(each.name == sink for each in self.loaded.sinks) or self._has_mistakes(sink)

    def _has_mistakes(self, sink: str) -> bool:
        return any(_is_about(problem, sink) for problem in problems_of(self.loaded))


def add_folder(parser: argparse.ArgumentParser) -> None:
    """
    Add the option `--dir`.
    """
    parser.add_argument(
        "--dir", type=Path, metavar="PATH", help="the journal directory (default: that of the settings)"
    )


def add_services(parser: argparse.ArgumentParser) -> None:
    """
    Add the options that choose services.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--service", metavar="NAME", action="append", help="the service (default: OTEL_SERVICE_NAME); may be repeated"
    )
    which.add_argument("--all-services", action="store_true", help="whatever the service")


def add_sinks(parser: argparse.ArgumentParser) -> None:
    """
    Add the option that chooses sinks.
    """
    parser.add_argument("--sink", metavar="NAME", action="append", help="only this sink; may be repeated")


def loaded_settings(environ: Mapping[str, str] = os.environ) -> Loaded:
    """
    Load the settings as a process would, with the sinks among OpenTelemetry's log exporters.
    """
    names = [name.strip() for name in environ.get("OTEL_LOGS_EXPORTER", "").split(",")]
    known = entry_points("opentelemetry_logs_exporter")
    ours = [name.removeprefix("llm_") for name in names if name.startswith("llm_") and name in known]
    return load(environ=environ, exporters={name: {} for name in ours})


def problems_of(loaded: Loaded) -> list[Problem]:
    """
    Give all that is wrong with the settings, and with what their sinks choose by.
    """
    return [*loaded.problems, *(problem for sink in loaded.sinks for problem in _in_where(sink))]


def specs_of(loaded: Loaded) -> dict[str, SinkSpec]:
    """
    Give the settings' sinks by the names of their cursors, without those that cannot choose.
    """
    specs = (setup.sink_spec(sink) for sink in loaded.sinks if not _in_where(sink))
    return {spec.key: spec for spec in specs}


def scope_of(args: argparse.Namespace) -> Scope:
    """
    Read the settings, say on stderr what is wrong with them, and give what the options choose.
    """
    loaded = loaded_settings()
    diagnostics.set_level(loaded.settings.log_level)
    for problem in problems_of(loaded):
        print(problem, file=sys.stderr)
    return Scope(
        folder=args.dir or loaded.settings.journal_dir,
        loaded=loaded,
        specs=specs_of(loaded),
        services=_services(args),
        sinks=frozenset(args.sink) if getattr(args, "sink", None) else None,
    )


def _in_where(sink: SinkSettings) -> list[Problem]:
    return where_problems(sink.common.where, f"sinks.{sink.name}.where")


def _is_about(problem: Problem, sink: str) -> bool:
    return environment_prefix(sink) in problem.where or f"sinks.{sink}." in f"{problem.where}."


def _services(args: argparse.Namespace) -> frozenset[str] | None:
    if "service" not in args or args.all_services:
        return None
    return frozenset(args.service or [setup.service_name()])
