"""
The page of each sink, `docs/sinks/NAME.md`, written from its file: `python -m otel_llm.cli.sink_pages`.

A page opens with the docstring of the sink's module. The docstring of its options class holds examples for people to
copy, fenced as `yaml`, and settings that are wrong, fenced as `yaml wrong`: what is said to those is found by trying
them. All else comes from the options' names, types, defaults and docstrings.
"""

import inspect
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final, NamedTuple, get_type_hints

import yaml

from otel_llm import plugins
from otel_llm.delivery.setup import DEFAULT_FORMATS
from otel_llm.entry_points import distribution, entry_points
from otel_llm.errors import Problem
from otel_llm.settings import SinkCommon, aliases, read_options
from otel_llm.settings.conversion import Unfit, convert
from otel_llm.settings.options import option_name
from otel_llm.settings.reference import default, field_docs, options_in_order
from otel_llm.settings.sources import environment_prefix
from otel_llm.settings.table import PREFIX

PACKAGE: Final = "otel-llm"

_FENCE: Final = re.compile(r"```(yaml(?: wrong)?)\n(.*?)```", re.DOTALL)


class _Sink(NamedTuple):
    name: str
    entry_point: EntryPoint
    options: type[Any]

    @property
    def story(self) -> str:
        """What the sink's module says of itself."""
        module = inspect.getmodule(plugins.sink_class(self.name))
        return inspect.getdoc(module) or ""

    @property
    def extra(self) -> str:
        """What to install; empty where nothing is missing."""
        return f"{PACKAGE}[{self.name}]" if plugins.has_extra(PACKAGE, self.name) else ""

    def fenced(self, kind: str) -> list[str]:
        """
        Give the blocks of one kind in the docstring of the options.
        """
        return [text for found, text in _FENCE.findall(inspect.getdoc(self.options) or "") if found == kind]


def pages() -> Mapping[str, str]:
    """
    Write all pages, by file name: one for each of our own sinks, and the list of them.
    """
    sinks = [
        _Sink(name, entry_point, plugins.sink_class(name).Options)
        for name, entry_point in sorted(entry_points(plugins.SINKS).items())
        if distribution(entry_point) == PACKAGE
    ]
    return {"README.md": _index(sinks), **{f"{sink.name}.md": _page(sink) for sink in sinks}}


def _index(sinks: list[_Sink]) -> str:
    rows = [
        f"| [{sink.name}]({sink.name}.md) | {_first_sentence(sink.story)} | {_code(sink.extra)} |" for sink in sinks
    ]
    return _INDEX.format(rows="\n".join(rows))


def _page(sink: _Sink) -> str:
    return _PAGE.format(
        name=sink.name,
        story=sink.story,
        install=_INSTALL.format(extra=sink.extra) if sink.extra else "",
        examples="\n".join(map(_example, sink.fenced("yaml") or [f"sinks: {{{sink.name}: {{}}}}\n"])),
        exporter=_exporter(sink.name),
        options="\n".join(_own_rows(sink)),
        aliases=_aliases(sink.name),
        common="\n".join(_common_rows(sink.name)),
        format=DEFAULT_FORMATS.get(sink.name, "otel"),
        mistakes="\n".join(_mistakes(sink)),
    )


def _example(text: str) -> str:
    variables = "\n".join(f"$ export {name}={shlex.quote(value)}" for name, value in _variables(yaml.safe_load(text)))
    return _EXAMPLE.format(yaml=text, variables=variables)


def _variables(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield f"{PREFIX}SINKS", ",".join(settings["sinks"])
    for sink, options in settings["sinks"].items():
        for option, value in (options or {}).items():
            yield f"{environment_prefix(sink)}{option.upper()}", _as_variable(value)


def _as_variable(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not any("," in str(item) for item in value):
        return ",".join(map(str, value))
    if isinstance(value, dict) and not any(set(",=") & set(f"{key}{text}") for key, text in value.items()):
        return ",".join(f"{key}={text}" for key, text in value.items())
    return json.dumps(value)


def _exporter(name: str) -> str:
    known = f"llm_{name}" in entry_points("opentelemetry_logs_exporter")
    return (
        f"\n`OTEL_LOGS_EXPORTER=otlp,llm_{name}` switches it on as well, with options from the environment.\n" * known
    )


def _own_rows(sink: _Sink) -> Iterator[str]:
    docs, hints = field_docs(sink.options), get_type_hints(sink.options, include_extras=True)
    for option in options_in_order(sink.options):
        name = option_name(option)
        variable = f"{environment_prefix(sink.name)}{name.upper()}"
        takes = _takes(hints[option.name])
        yield f"| `{name}` | `{variable}` | {takes} | {default(option)} | {docs[option.name]} |"


def _common_rows(name: str) -> Iterator[str]:
    docs = field_docs(SinkCommon)
    for option in options_in_order(SinkCommon):
        variable = f"{environment_prefix(name)}{option.name.upper()}"
        yield f"| `{option.name}` | `{variable}` | {default(option)} | {docs[option.name]} |"


def _takes(hint: Any) -> str:
    """
    Say what a type takes, in the words with which it refuses what it does not.
    """
    for unfit in (-1, object()):
        try:
            convert(unfit, hint)
        except Unfit as refusal:
            return refusal.expected
    return ""


def _aliases(name: str) -> str:
    others = aliases.SINK_VARIABLES.get(name, {})
    told = [f"`{variable}` fills `{option}`" for option, variable in others.items()]
    return f"\nWhere nobody set them under these names: {', '.join(told)}.\n" if told else ""


def _mistakes(sink: _Sink) -> Iterator[str]:
    first = options_in_order(sink.options)[0].name
    yield _mistake(f"sinks:\n  {sink.name}: {{{first}s: …}}\n", _said(sink, {f"{first}s": "…"})[-1:])
    missing = [problem for problem in _said(sink, {}) if problem.found == "nothing"]
    if missing:
        yield _mistake(f"sinks:\n  {sink.name}: {{}}\n", missing)
    for text in sink.fenced("yaml wrong"):
        (options,) = yaml.safe_load(text)["sinks"].values()
        yield _mistake(text, _said(sink, options))
    if sink.extra:
        absent = plugins.load_error(sink.entry_point, ModuleNotFoundError("No module named 'client'", name="client"))
        yield _ABSENT.format(error=absent)


def _said(sink: _Sink, options: Mapping[str, object]) -> tuple[Problem, ...]:
    problems = read_options(sink.options, options, f"sinks.{sink.name}")[1]
    return tuple(sorted(problems, key=lambda problem: problem.found == "an unknown option"))


def _mistake(text: str, problems: tuple[Problem, ...] | list[Problem]) -> str:
    return _MISTAKE.format(yaml=text, said="\n".join(map(str, problems)))


def _first_sentence(text: str) -> str:
    return " ".join(re.split(r"(?<=\.)\s", text, maxsplit=1)[0].split())


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


_NOTE: Final = """\
<!-- Written by `python -m otel_llm.cli.sink_pages`; change the sink's file, then run it again. -->"""

_INDEX: Final = (
    """\
# Sinks

"""
    + _NOTE
    + """

Where records go. Several sinks work side by side, several of one type under names of their own; each has its own
cursor, retries and filters, so that none waits for another.

| sink | what it does | needs |
| --- | --- | --- |
{rows}

OTLP needs no sink of ours: `OTEL_EXPORTER_OTLP_ENDPOINT` and OpenTelemetry's other variables send spans, metrics and
records to any Collector. A sink of your own is [one file](../../examples/custom-sink).
"""
)

_PAGE: Final = (
    """\
# {name}

"""
    + _NOTE
    + """

{story}

## Switch it on
{install}
{examples}{exporter}
## Options

| option | in the environment | takes | default | meaning |
| --- | --- | --- | --- | --- |
{options}
{aliases}
A variable with `_FILE` behind its name holds the path of a file with the value.

## Options of every sink

| option | in the environment | default | meaning |
| --- | --- | --- | --- |
{common}

The default of `format` is `{format}` here.

## Mistakes

A mistake is reported when the process starts, and by `otel-llm doctor`; the sink is off then, the other sinks work. A
value of the wrong kind is reported in the words of the column *takes*.

{mistakes}"""
)

_INSTALL: Final = """
```console
$ pip install '{extra}'
```
"""

_EXAMPLE: Final = """\
```yaml
{yaml}```

The same in the environment:

```console
{variables}
```
"""

_MISTAKE: Final = """\
```yaml
{yaml}```

```
{said}
```
"""

_ABSENT: Final = """\
Without its client:

```
{error}
```
"""


def main(folder: Path) -> None:
    """
    Write the pages into a folder, and take away those of sinks that are no more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for stale in {path.name for path in folder.glob("*.md")} - written.keys():
        (folder / stale).unlink()
    for name, page in written.items():
        (folder / name).write_text(page, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "docs/sinks"))
