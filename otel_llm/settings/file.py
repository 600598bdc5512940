"""
A settings file: YAML, or JSON or TOML by its suffix.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otel_llm.errors import Problem


def read_document(path: Path) -> tuple[Mapping[str, object], tuple[Problem, ...]]:
    """
    Read a settings file; what is wrong with it is reported, by line, without quoting it.
    """
    try:
        document = _parse(path.suffix.lower(), path.read_text("utf-8"))
    except OSError as error:
        return {}, (Problem(f"file {path}", error.strerror or "an unreadable file", "a readable file"),)
    except UnicodeDecodeError:
        return {}, (Problem(f"file {path}", "bytes that are not UTF-8", "text"),)
    except _ParseError as error:
        return {}, (Problem(f"file {path}{error.place}", "text that cannot be parsed", f"valid {error.language}"),)
    if document is None:
        return {}, ()
    if not isinstance(document, Mapping):
        return {}, (Problem(f"file {path}", "something else than a mapping", "`name: value` pairs"),)
    return {str(name): value for name, value in document.items()}, ()


class _ParseError(Exception):
    def __init__(self, language: str, line: int | str | None) -> None:
        super().__init__(language)
        self.language = language
        self.place = f", line {line}" if line is not None else ""


def _parse(suffix: str, text: str) -> Any:
    return {".json": _json, ".toml": _toml}.get(suffix, _yaml)(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _ParseError("JSON", error.lineno) from None


def _toml(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise _ParseError("TOML", line[1] if line else None) from None


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise _ParseError("YAML", error.problem_mark.line + 1 if error.problem_mark else None) from None
    except (yaml.YAMLError, ValueError, RecursionError):  # control characters; a date that does not exist
        raise _ParseError("YAML", None) from None
