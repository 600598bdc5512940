"""
What waits in the journal, read without touching it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from otel_llm.cli.doctor.findings import Finding, Section, section
from otel_llm.cli.scope import Scope, specs_of
from otel_llm.cli.units import age, many, size
from otel_llm.delivery import files, mounts, setup
from otel_llm.delivery.backlog import Group, sink_name
from otel_llm.settings import Loaded


def journal(loaded: Loaded) -> Section:
    """
    Say where the journal is, whether it can be written, and what waits in it.
    """
    return section("Journal", _journal(loaded))


def _journal(loaded: Loaded) -> Iterator[Finding]:
    settings = loaded.settings
    if settings.durability == "memory":
        yield Finding("warning", "records wait in memory: a crash loses them", "export OTEL_LLM_DURABILITY=process")
        return
    folder = settings.journal_dir
    if fault := _fault(folder):
        yield Finding("problem", f"{folder} {fault}", "export OTEL_LLM_JOURNAL_DIR=$HOME/.local/state/otel-llm/journal")
        return
    yield Finding("ok", f"{folder}, durability {settings.durability}, at most {size(settings.journal_max_bytes)}")
    yield from _disk(_existing(folder), settings.journal_min_free_bytes)
    scope = Scope(folder, loaded, specs_of(loaded), frozenset({setup.service_name()}))
    for group in scope.all_groups():
        yield from _group(group, scope)


def _disk(folder: Path, least: int) -> Iterator[Finding]:
    """
    Say what of the disk under the journal stops records from being safe.
    """
    if kind := mounts.network_file_system(folder):
        text = f"it is on a network file system ({kind}): locks and writes there may not survive what a disk's do"
        yield Finding("warning", text, "export OTEL_LLM_JOURNAL_DIR=/var/lib/otel-llm  # on this machine")
    if (free := files.free_bytes(folder)) < least:
        text = f"{size(int(free))} are free, journal_min_free_bytes is {size(least)}: records wait in memory only"
        yield Finding("problem", text, "export OTEL_LLM_JOURNAL_DIR=/var/lib/otel-llm  # on a disk with room")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _fault(folder: Path) -> str | None:
    existing = _existing(folder)
    if not existing.is_dir():
        return f"lies below {existing}, which is no folder"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"cannot be written (as user {_user()})"


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "?"


def _group(group: Group, scope: Scope) -> Iterator[Finding]:
    for journal in group.left:
        if journal.fault:
            yield Finding("warning", f"{group.service}: the journal of process {journal.process}: {journal.fault}")
    for key, name in sorted(group.names().items()):
        if group.waiting(key).pending:
            yield _waiting(group, key, name, scope)
    for file in group.dead:
        text = f"{group.service} to {sink_name(file.sink)}: {many(file.letters, 'dead letter')}, {size(file.bytes)}"
        yield Finding("warning", text, "otel-llm journal dead")


def _waiting(group: Group, key: str, name: str, scope: Scope) -> Finding:
    """
    Say what a sink waits for; somebody has to do something where nobody lives who would deliver it.
    """
    waiting, left = group.waiting(key), group.waiting(key, group.left)
    text = f"{group.service} to {name}: {many(waiting.pending, 'record')}, the oldest {age(waiting.oldest_seconds)} old"
    if left.pending:
        text += f"; {left.pending:,} of them left by {many(len(group.left), 'dead process', 'dead processes')}"
    if reason := scope.why_not(key) if scope.covers(group) else None:
        way_out = f"purge --sink {name}  # or name it again"
        if scope.names(name):
            way_out = "drain  # with the settings they are for"
        return Finding("warning", f"{text}; {reason}", f"otel-llm journal {way_out}")
    if len(group.left) == len(group.journals):
        return Finding("warning", text, f"OTEL_SERVICE_NAME={quote(group.service)} otel-llm journal drain")
    return Finding("fact", text)
