"""
The reference of settings, `docs/settings.md`, written from the dataclasses: `python -m otel_llm.settings.reference`.
"""

import ast
import inspect
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from otel_llm.settings import aliases
from otel_llm.settings.sink import SinkCommon
from otel_llm.settings.table import Settings, environment_name


def markdown() -> str:
    """
    Write the reference of all settings.
    """
    return _PAGE.format(
        settings="\n".join(_setting_rows()),
        common="\n".join(_option_rows(SinkCommon)),
        variables="\n".join(_variable_rows()),
    )


def field_docs(options_class: type[Any]) -> Mapping[str, str]:
    """
    Give the docstring under each field of an options class, on one line; inherited fields have theirs.
    """
    return {name: text for kind in reversed(_layers(options_class)) for name, text in _docs(kind).items()}


def options_in_order(options_class: type[Any]) -> list[Field[Any]]:
    """
    Give the fields of an options class, its own before those that it inherits.
    """
    own_first = [name for kind in _layers(options_class) for name in kind.__annotations__]
    return sorted(fields(options_class), key=lambda option: own_first.index(option.name))


def default(option: Field[Any]) -> str:
    """
    Write the default of a field; nothing where it has none.
    """
    if written := _WRITTEN_DEFAULTS.get(option.name):
        return written
    value = option.default
    if isinstance(value, int) and option.name.endswith("_bytes") and value % _MIB == 0:
        return f"{value // _MIB} MiB"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, int | float) or (value is not MISSING and value) else ""


def _layers(options_class: type[Any]) -> list[type[Any]]:
    return [kind for kind in options_class.__mro__ if "__annotations__" in vars(kind)]


def _docs(options_class: type[Any]) -> Mapping[str, str]:
    (definition,) = ast.parse(inspect.getsource(options_class)).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    documented = itertools.pairwise(body)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in documented
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


_MIB: Final = 1024**2
_FILES_ONLY: Final = {"pricing", "api", "gateway"}
_WRITTEN_DEFAULTS: Final = {
    "journal_dir": "`$XDG_STATE_HOME/otel-llm/journal`",
    "journal_max_age": "7d",
    "journal_min_free_bytes": "64 MiB",
}


def _setting_rows() -> Iterator[str]:
    docs = field_docs(Settings)
    for setting in fields(Settings):
        name = setting.name
        variable = "" if name in _FILES_ONLY else f"`{environment_name(name)}`"
        yield f"| `{name}` | {variable} | {default(setting)} | {docs[name]} |"


def _option_rows(options_class: type[Any]) -> Iterator[str]:
    docs = field_docs(options_class)
    for option in fields(options_class):
        yield f"| `{option.name}` | {default(option)} | {docs[option.name]} |"


def _variable_rows() -> Iterator[str]:
    for setting, variable in aliases.SETTING_VARIABLES.items():
        yield f"| `{variable}` | `{setting}` |"
    for owner, names in _groups((aliases.SINK_VARIABLES, "sinks of type"), (aliases.SECTION_VARIABLES, "section")):
        for option, variable in names.items():
            yield f"| `{variable}` | `{option}` of {owner} |"


def _groups(*tables: tuple[Mapping[str, Mapping[str, str]], str]) -> Iterable[tuple[str, Mapping[str, str]]]:
    return [(f"{kind} `{owner}`", names) for table, kind in tables for owner, names in table.items()]


_PAGE: Final = """\
# Settings

<!-- Written by `python -m otel_llm.settings.reference`; change the dataclasses, then run it again. -->

A setting is read from, in this order: what code gives to `otel_llm.configure`, its environment variable, the file
that `OTEL_LLM_CONFIG` names (YAML; JSON and TOML by suffix), its default. An empty variable counts as unset.
`otel-llm doctor` shows each value with its origin. A value that cannot be used is reported together with all others,
and its default takes its place; a sink with such a value is off, the other sinks work.

| in the file | in the environment | default | meaning |
| --- | --- | --- | --- |
{settings}

Sizes are written like `512 MiB`, durations like `7d`, `12h` or `90s`, lists with commas or as JSON, maps like
`k=v,k2=v2` or as JSON. Numbers are above 0.

## Sinks

```yaml
sinks:
  sqlite: {{path: calls.db}}
  failures:                     # its name is free where `type` is given
    type: jsonl
    path: /var/log/llm
    where: {{event_type: [error, rate_limit]}}
    content: none
```

The same in the environment: `OTEL_LLM_SINKS=sqlite,failures`, `OTEL_LLM_SQLITE_PATH=calls.db`,
`OTEL_LLM_FAILURES_TYPE=jsonl`. A variable is `OTEL_LLM_<NAME>_<OPTION>`, where characters other than letters and digits
become `_`. An option with `_FILE` behind it (`OTEL_LLM_ALERTS_TOKEN_FILE`) is read from the file it names. With
`OTEL_LLM_SINKS` set, only the sinks named there are on; `none` switches all off.

Every sink has these options besides [its own](sinks/README.md):

| option | default | meaning |
| --- | --- | --- |
{common}

## Names of other systems

These variables fill what nobody set under our name; they switch no sink on. Only `ENABLED_EXPORTERS` names sinks, where
neither `OTEL_LLM_SINKS` nor a file does.

| variable | fills |
| --- | --- |
{variables}

In a file, `SinkType`, `SinkConfig`, `BatchSize`, `FlushIntervalMs`, `DropOnBackpressure`, `CustomLabels` and
`AsyncWorkers` are read in this spelling too; `batch_timeout` and `batch_delay_ms` of a sink are its
`flush_interval_ms`; `metrics_enabled`, `metrics_storage_path`, `metrics_bind_address`, `metrics_basic_auth_user`,
`metrics_basic_auth_pass` and `usage_statistics_enabled` mean what the variables above mean; `logging.usage`,
`logging.errors` and `logging.debug` fill the stores of a JSONL sink.
"""

if __name__ == "__main__":
    Path(sys.argv[1] if sys.argv[1:] else "docs/settings.md").write_text(markdown(), "utf-8")
