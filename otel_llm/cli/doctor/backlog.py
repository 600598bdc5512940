"""
What waits in the journal, read without touching it.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from otel_llm.cli.doctor.findings import Finding, Section, section
from otel_llm.delivery.adoption import journals
from otel_llm.delivery.dead_letters import FOLDER
from otel_llm.delivery.group import LABEL
from otel_llm.settings import Loaded, Settings


def journal(loaded: Loaded) -> Section:
    """
    Say where the journal is, whether it can be written, and what waits in it.
    """
    return section("Journal", _journal(loaded.settings))


def _journal(settings: Settings) -> Iterator[Finding]:
    if settings.durability == "memory":
        yield Finding("warning", "records wait in memory: a crash loses them", "export OTEL_LLM_DURABILITY=process")
        return
    folder = settings.journal_dir
    if fault := _fault(folder):
        yield Finding("problem", f"{folder} {fault}", "export OTEL_LLM_JOURNAL_DIR=$HOME/.local/state/otel-llm/journal")
        return
    yield Finding("ok", f"{folder}, durability {settings.durability}, at most {_size(settings.journal_max_bytes)}")
    for group in sorted(folder.glob("*")):
        if group.is_dir():
            yield from _group(group)


def _fault(folder: Path) -> str | None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        return f"lies below {existing}, which is no folder"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"cannot be written (as user {_user()})"


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "?"


def _group(group: Path) -> Iterator[Finding]:
    folders = list(journals(group))
    service, sinks = _label(group / LABEL)
    if folders:
        yield Finding("fact", f"{service} to {sinks}: {len(folders)} journals, {_size(_pending(folders))}")
    for letters in sorted((group / FOLDER).glob("*.jsonl")):
        if size := letters.stat().st_size:
            text = f"{service}: {letters.stem} refused records, {_size(size)} of dead letters"
            yield Finding("warning", text, f"less {letters}")


def _pending(folders: Iterable[Path]) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*.segment"))


def _label(path: Path) -> tuple[str, str]:
    try:
        about = msgspec.json.decode(path.read_bytes(), type=_Label)
    except (OSError, msgspec.DecodeError):
        return "unknown service", "unknown sinks"
    return about.service, ", ".join(about.sinks) or "no sink"


class _Label(msgspec.Struct):
    service: str
    sinks: dict[str, str]


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004
            return f"{count:.0f} {unit}"
        count //= 1024
    return f"{count} GiB"
