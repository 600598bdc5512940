"""`otel-llm journal ls`: services, their processes, and what each sink waits for."""

import argparse
import json
from collections.abc import Iterator

from otel_llm.cli import table
from otel_llm.cli.scope import Scope, add_folder, scope_of
from otel_llm.cli.units import age, many, size
from otel_llm.delivery.backlog import Group, ProcessJournal, Waiting
from otel_llm.telemetry.text import clean


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the action `ls`.
    """
    parser = actions.add_parser("ls", help="show what waits, for which sink, and in which processes")
    add_folder(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print what there is; nothing is changed.
    """
    scope = scope_of(args)
    groups = scope.groups()
    if args.json:
        print(json.dumps({"journal_dir": str(scope.folder), "groups": [_document(group, scope) for group in groups]}))
        return 0
    print(scope.folder if groups else f"{scope.folder}: nothing waits")
    for group in groups:
        _show(group, scope)
    return 0


def _show(group: Group, scope: Scope) -> None:
    dead = len(group.left)
    alive = many(len(group.journals) - dead, "living process", "living processes")
    print(f"\n{clean(group.service)}: {alive}, {dead} dead, {size(group.bytes)}")
    table.show(("sink", "waiting", "oldest", "dead letters", ""), list(_sinks(group, scope)), right=(1, 2, 3))
    if group.journals:
        table.show(("process", "", "waiting", "size", ""), [_process(each) for each in group.journals], right=(2, 3))


def _sinks(group: Group, scope: Scope) -> Iterator[tuple[str, ...]]:
    letters = _letters(group)
    for key, name in sorted(group.names().items()):
        waiting = group.waiting(key)
        yield name, f"{waiting.pending:,}", age(_age(waiting)), f"{letters.get(key, 0):,}", scope.why_not(key) or ""


def _process(journal: ProcessJournal) -> tuple[str, ...]:
    state = "alive" if journal.alive else "dead"
    return journal.process, state, f"{journal.pending:,}", size(journal.bytes), journal.fault or ""


def _document(group: Group, scope: Scope) -> dict[str, object]:
    letters = _letters(group)
    return {
        "service": group.service,
        "group": group.folder.name,
        "sinks": [
            {
                "sink": name,
                "pending": group.waiting(key).pending,
                "oldest_seconds": _age(group.waiting(key)),
                "dead_letters": letters.get(key, 0),
                "orphaned": scope.why_not(key),
            }
            for key, name in sorted(group.names().items())
        ],
        "processes": [
            {
                "process": journal.process,
                "alive": journal.alive,
                "bytes": journal.bytes,
                "pending": {key: waiting.pending for key, waiting in journal.waiting.items()},
                "fault": journal.fault,
            }
            for journal in group.journals
        ],
    }


def _letters(group: Group) -> dict[str, int]:
    return {file.sink: file.letters for file in group.dead}


def _age(waiting: Waiting) -> float | None:
    return waiting.oldest_seconds
