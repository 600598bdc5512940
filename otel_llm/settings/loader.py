"""
Settings put together: what code says, then the environment, then the file, then other systems' names, then defaults.

Every value remembers where it came from. Nothing here raises for a bad value: it becomes a `Problem`, the default takes
its place, and a sink with a bad value is left out.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, get_type_hints

from otel_llm.entry_points import entry_points
from otel_llm.errors import Problem
from otel_llm.settings import aliases
from otel_llm.settings.conversion import Unfit, convert, listed, nearest, shown
from otel_llm.settings.file import read_document
from otel_llm.settings.options import read_options
from otel_llm.settings.sink import SinkCommon, SinkSettings
from otel_llm.settings.sources import (
    SECTIONS,
    Given,
    Source,
    document_source,
    environment_prefix,
    merged,
    option_variable_source,
    other_document_source,
    other_variable_source,
    variable_source,
)
from otel_llm.settings.table import PREFIX, ContentCapture, Settings, default_journal_dir, environment_name

SINK_GROUP: Final = "otel_llm_sink"
"""The entry points that make sinks, by type."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    The settings of a process, and how they came about.
    """

    settings: Settings
    sinks: tuple[SinkSettings, ...] = ()
    """The sinks that are switched on and well described."""
    problems: tuple[Problem, ...] = ()
    """Everything that is wrong."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """By setting, or `sinks.<name>.<option>`: `default`, `environment OTEL_LLM_X`, `file otel-llm.yaml`, `code`."""


def load(
    code: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    exporters: Mapping[str, Mapping[str, object]] | None = None,
) -> Loaded:
    """
    Put the settings together from code, the environment and the file that either of them names.

    `exporters` are the sinks that OpenTelemetry's own configuration names, with the options it gives them: they are on
    besides those that the settings name, and one that both name is one sink.
    """
    return _Loading(code or {}, os.environ if environ is None else environ, exporters or {}).run()


_HINTS: Final[Mapping[str, Any]] = get_type_hints(Settings, include_extras=True)
_ONLY_IN_FILES: Final = {"pricing", *SECTIONS}
_VARIABLES: Final = tuple(name for name in _HINTS if name not in _ONLY_IN_FILES)
_COMMON: Final = tuple(option.name for option in fields(SinkCommon))
_INHERITED: Final = ("batch_size", "flush_interval_ms", "async_workers")


class _Loading:
    def __init__(
        self, code: Mapping[str, object], environ: Mapping[str, str], exporters: Mapping[str, Mapping[str, object]]
    ) -> None:
        self.environ = environ
        self.exporters = exporters
        self.problems: list[Problem] = []
        self.origins: dict[str, str] = {}
        self.sources: list[Source] = [document_source(code, "code"), variable_source(environ, _VARIABLES)]
        document, origin = self.read_file()
        self.sources += [
            document_source(document, origin),
            other_variable_source(environ),
            other_document_source(code, "code"),
            other_document_source(document, origin),
            self.exporter_source(),
        ]

    def run(self) -> Loaded:
        names = tuple(dict.fromkeys((*self.sink_names(), *self.exporters)))
        self.sources.insert(1, option_variable_source(self.environ, _owners(names)))
        settings = self.process_settings()
        sinks = tuple(filter(None, [self.sink(name, settings) for name in names]))
        self.report_unknown_names()
        self.report_unknown_variables(names)
        settings = replace(settings, sinks=tuple(sink.name for sink in sinks))
        return Loaded(settings, sinks, tuple(dict.fromkeys(self.problems)), self.origins)

    def exporter_source(self) -> Source:
        named = document_source({"sinks": self.exporters}, "OpenTelemetry's configuration")
        return {path: given for path, given in named.items() if path != ("sinks",)}

    def read_file(self) -> tuple[Mapping[str, object], str]:
        path = self.value("config", None)
        if path is None:
            return {}, ""
        document, problems = read_document(path)
        self.problems.extend(problems)
        return document, f"file {path}"

    # One value

    def given(self, name: str) -> Given | None:
        return next((source[name,] for source in self.sources if (name,) in source), None)

    def value(self, name: str, default: Any) -> Any:
        given = self.given(name)
        if given is None:
            self.origins[name] = "default"
            return default
        try:
            value = convert(given.value, _HINTS[name])
        except Unfit as unfit:
            self.report(given.where, shown(given.value, _HINTS[name]), unfit.expected, unfit.nearest)
            self.origins[name] = "default"
            return default
        self.origins[name] = given.origin
        return value

    def report(self, where: str, found: str, expected: str, suggestion: str | None = None) -> None:
        self.problems.append(Problem(where, found, expected, suggestion))

    # The process

    def process_settings(self) -> Settings:
        defaults = Settings(journal_dir=default_journal_dir(self.environ))
        plain = {name: self.value(name, getattr(defaults, name)) for name in _HINTS if name not in {"sinks", *SECTIONS}}
        settings = replace(defaults, **plain, api=self.section("api"), gateway=self.section("gateway"))
        return self.with_safe_content(self.with_overflow_policy(settings))

    def section(self, name: str) -> Mapping[str, object]:
        options = merged(self.sources, [(name,)])
        self.origins |= {f"{name}.{option}": given.origin for option, given in options.items()}
        return self.values(options)

    def values(self, options: Mapping[str, Given]) -> dict[str, object]:
        if misplaced := options.get(""):
            self.report(misplaced.where, shown(misplaced.value, dict), "`option: value` pairs")
        return {option: given.value for option, given in options.items() if option}

    def with_overflow_policy(self, settings: Settings) -> Settings:
        if not settings.drop_on_backpressure or settings.when_full != "block":
            return settings
        asked = self.given("when_full")
        if asked is not None:
            self.report(asked.where, "'block'", "drop_new or drop_old, as drop_on_backpressure is true")
        self.origins["when_full"] = self.origins["drop_on_backpressure"]
        return replace(settings, when_full="drop_new")

    def with_safe_content(self, settings: Settings) -> Settings:
        """Capture no content when the operator's redaction cannot be applied."""
        asked = self.given("redact_patterns")
        if asked is None or self.origins["redact_patterns"] != "default" or not settings.content.captured:
            return settings
        self.report(asked.where, "patterns that cannot be used", "valid ones; no content is captured until then")
        return replace(settings, content=ContentCapture.NO_CONTENT)

    # Sinks

    def sink_names(self) -> tuple[str, ...]:
        given = self.given("sinks")
        if given is None:
            return self.enabled_exporters()
        names = self.value("sinks", ())
        return () if names == ("none",) else tuple(dict.fromkeys(names))

    def enabled_exporters(self) -> tuple[str, ...]:
        names = [name.strip() for name in self.environ.get(aliases.ENABLED_EXPORTERS, "").split(",") if name.strip()]
        origin = f"environment {aliases.ENABLED_EXPORTERS}"
        self.origins["sinks"] = origin if names else "default"
        if "prometheus" in names:
            self.report(
                origin,
                "'prometheus', which takes metrics",
                "OTEL_METRICS_EXPORTER=prometheus, after pip install opentelemetry-exporter-prometheus",
            )
        return tuple(dict.fromkeys(aliases.EXPORTERS.get(name, name) for name in names if name != "prometheus"))

    def sink(self, name: str, settings: Settings) -> SinkSettings | None:
        kind = self.sink_type(name)
        if kind is None:
            return None
        options = merged(self.sources, [("sinks", name), ("sink_types", kind)])
        options.pop("type", None)
        self.origins |= {f"sinks.{name}.{option}": given.origin for option, given in options.items()}
        values, before = self.values(options), len(self.problems)
        common = self.common(name, {option: values.pop(option) for option in _COMMON if option in values}, settings)
        if common is None or "" in options or len(self.problems) > before:
            return None
        return SinkSettings(name, kind, values, common, {option: options[option].where for option in values})

    def sink_type(self, name: str) -> str | None:
        given = merged(self.sources, [("sinks", name)]).get("type")
        kind, where = (str(given.value), given.where) if given else (name, self.sinks_origin())
        known = entry_points(SINK_GROUP)
        if kind in known:
            return kind
        self.report(
            where, f"the unknown sink {kind!r}", listed(sorted(known)) if known else "a sink", nearest(kind, known)
        )
        return None

    def sinks_origin(self) -> str:
        given = self.given("sinks")
        return given.where if given else f"environment {aliases.ENABLED_EXPORTERS}"

    def common(self, name: str, raw: dict[str, object], settings: Settings) -> SinkCommon | None:
        inherited = {option: getattr(settings, option) for option in _INHERITED}
        origins = {option: given.where for option, given in merged(self.sources, [("sinks", name)]).items()}
        common, problems = read_options(SinkCommon, {**inherited, **raw}, f"sinks.{name}", origins)
        self.problems.extend(problems)
        return common

    # Names nobody knows

    def report_unknown_names(self) -> None:
        for source in self.sources:
            for path, given in source.items():
                if len(path) == 1 and path[0] not in _HINTS:
                    self.report(given.where, "an unknown setting", "a setting of otel-llm", nearest(path[0], _HINTS))

    def report_unknown_variables(self, names: tuple[str, ...]) -> None:
        known = {environment_name(setting) for setting in _VARIABLES}
        unknown = [name for name in self.environ if name.startswith(PREFIX) and name not in known]
        prefixes = [environment_prefix(owner[-1]) for owner in _owners(names)]
        unknown = [name for name in unknown if not name.startswith(tuple(prefixes))]
        if not unknown:
            return
        # A sink may be switched on elsewhere: by OTEL_LOGS_EXPORTER, or by a file of OpenTelemetry's.
        prefixes += [environment_prefix(sink) for sink in entry_points(SINK_GROUP)]
        for name in unknown:
            if not name.startswith(tuple(prefixes)):
                self.report(
                    f"environment {name}",
                    "an unknown variable",
                    "a setting or a sink's option",
                    _like(name, known, prefixes),
                )


def _owners(sinks: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [*[("sinks", name) for name in sinks], *[(section,) for section in SECTIONS]]


def _like(variable: str, known: set[str], prefixes: list[str]) -> str | None:
    _, _, option = variable.removeprefix(PREFIX).partition("_")
    return nearest(variable, [*known, *(prefix + option for prefix in prefixes if option)])
