"""
What is set, where it came from, what is wrong with it, and what would be captured of content.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final, get_type_hints

from otel_llm import plugins
from otel_llm.cli.doctor.findings import Finding, Section, of_problems, section
from otel_llm.cli.scope import problems_of
from otel_llm.errors import MissingExtra, UnknownPlugin
from otel_llm.settings import ContentCapture, Loaded, Settings, SinkSettings, environment_name
from otel_llm.settings.conversion import listed, shown

_PRIVATE: Final = re.compile("pass|secret|token|key|credential|header|auth|dsn")
_HINTS: Final = get_type_hints(Settings, include_extras=True)


def configuration(loaded: Loaded) -> Section:
    """
    Show what differs from the defaults, with its origin, and every mistake.
    """
    return section("Settings", [*_settings(loaded), *_options(loaded), *of_problems(problems_of(loaded))])


def content(loaded: Loaded) -> Section:
    """
    Say what of prompts and answers would leave, and to where.
    """
    return section("Content", _content(loaded))


def is_private(option: str) -> bool:
    """
    Say whether an option's name suggests a secret.
    """
    return _PRIVATE.search(option) is not None


def _settings(loaded: Loaded) -> Iterator[Finding]:
    named = [name for name in _HINTS if loaded.origins.get(name, "default") != "default"]
    for name in named:
        yield Finding(
            "fact", f"{name} = {_value(getattr(loaded.settings, name), _HINTS[name])}  ({loaded.origins[name]})"
        )
    if not named:
        yield Finding("fact", "all settings have their defaults")


def _value(value: object, hint: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) if not isinstance(value, Mapping) else shown(value, hint)


def _options(loaded: Loaded) -> Iterator[Finding]:
    values = {f"sinks.{sink.name}.{name}": value for sink in loaded.sinks for name, value in _readable(sink).items()}
    for path, origin in loaded.origins.items():
        if "." in path:
            yield Finding("fact", f"{path} = {values.get(path, '********')}  ({origin})")


def _readable(sink: SinkSettings) -> dict[str, str]:
    common = {option.name: str(getattr(sink.common, option.name)) for option in fields(sink.common)}
    try:
        hints = get_type_hints(plugins.sink_class(sink.type).Options, include_extras=True)
    except (MissingExtra, UnknownPlugin):
        return common
    own = {name: value for name, value in sink.options.items() if name in hints and not is_private(name)}
    return common | {name: shown(value, hints[name]) for name, value in own.items()}


def _content(loaded: Loaded) -> Iterator[Finding]:
    mode = loaded.settings.content
    origin = loaded.origins["content"]
    yield Finding("fact", f"{mode}  ({origin}): {_WHERE[mode]}")
    if mode.on_event:
        full = [sink.name for sink in loaded.sinks if sink.common.content == "full"]
        yield Finding("warning", f"prompts and answers reach {listed(full, 'and') if full else 'no sink'}", _QUIET)
    patterns = len(loaded.settings.redact_patterns)
    yield Finding("fact", f"keys and tokens are redacted, and {patterns} patterns of your own")


_WHERE: Final = {
    ContentCapture.NO_CONTENT: "no prompt and no answer is captured",
    ContentCapture.SPAN_ONLY: "prompts and answers are on spans, in no record",
    ContentCapture.EVENT_ONLY: "prompts and answers are in records, on no span",
    ContentCapture.SPAN_AND_EVENT: "prompts and answers are on spans and in records",
}
_QUIET: Final = f"export {environment_name('content')}=NO_CONTENT"
