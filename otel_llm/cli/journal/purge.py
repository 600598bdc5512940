"""`otel-llm journal purge`: gives up what dead processes left, and dead letters."""

import argparse
import os
import shutil
import time
from collections.abc import Iterator, Sequence

from otel_llm.cli.scope import Scope, add_folder, add_services, add_sinks, scope_of
from otel_llm.cli.units import age, many, size
from otel_llm.delivery import adoption, files
from otel_llm.delivery.backlog import DeadFile, Group, ProcessJournal, sink_name
from otel_llm.delivery.letters import Letters
from otel_llm.delivery.store import last_written
from otel_llm.errors import JournalError
from otel_llm.settings import Duration, Unfit, convert
from otel_llm.telemetry.text import clean


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the action `purge`.
    """
    parser = actions.add_parser("purge", help="delete what dead processes left; a living one's journal is not touched")
    add_folder(parser)
    add_services(parser)
    add_sinks(parser)
    parser.add_argument("--older-than", type=_seconds, default=0.0, metavar="AGE", help="not written since, as in 7d")
    parser.add_argument("--dead-letters", action="store_true", help="the dead letters, too")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Say what would go, ask, and delete; 0 when it is gone, 1 when somebody declined or was faster.
    """
    scope = scope_of(args)
    before = time.time() - args.older_than
    journals = [(group, left) for group in scope.groups() for left in group.left if _is_meant(scope, left, before)]
    letters = list(_letters(scope, before)) if args.dead_letters else []
    if not journals and not letters:
        print("nothing to delete")
        return 0
    for line in [*(_journal(scope, *each) for each in journals), *(_file(*each) for each in letters)]:
        print(clean(line))
    if not (args.yes or _agreed()):
        print("nothing was deleted")
        return 1
    for group in {group.folder: group for group, _ in journals}.values():
        _give_up(scope, group, [left for of, left in journals if of is group])
    for _, file in letters:
        _delete(file)
    kept = [journal for _, journal in journals if scope.sinks is None and journal.folder.exists()]
    for journal in kept:
        print(f"kept: another process has taken over the journal of {journal.process}")
    print("deleted" if not kept else "deleted the rest")
    return 1 if kept else 0


def _is_meant(scope: Scope, journal: ProcessJournal, before: float) -> bool:
    if last_written(journal.folder) > before:
        return False
    return scope.sinks is None or any(scope.wants(key) and each.pending for key, each in journal.waiting.items())


def _letters(scope: Scope, before: float) -> Iterator[tuple[Group, DeadFile]]:
    for group in scope.groups():
        for file in group.dead:
            if scope.wants(file.sink) and file.path.stat().st_mtime <= before:
                yield group, file


def _journal(scope: Scope, group: Group, journal: ProcessJournal) -> str:
    waits = [
        f"{many(each.pending, 'record')} for {sink_name(key)}"
        for key, each in sorted(journal.waiting.items())
        if scope.wants(key) and each.pending
    ]
    what = journal.fault or ", ".join(waits) or "nothing that a sink waits for"
    written = age(max(0.0, time.time() - last_written(journal.folder)))
    return f"{group.service}, dead process {journal.process}: {what}; {size(journal.bytes)}, written {written} ago"


def _file(group: Group, file: DeadFile) -> str:
    return f"{group.service}, {sink_name(file.sink)}: {many(file.letters, 'dead letter')}; {size(file.bytes)}"


def _agreed() -> bool:
    try:
        return input("Delete all this? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print("(nobody to ask: --yes deletes without)")
        return False


def _give_up(scope: Scope, group: Group, journals: Sequence[ProcessJournal]) -> None:
    """
    Move the cursors of the sinks in question to the end; a journal that nobody waits for is removed.
    """
    folders = {journal.folder for journal in journals}
    for inheritance in adoption.adopt(group.folder, group.sinks.values()):
        if inheritance.store is not None and inheritance.store.folder in folders:
            for key in filter(scope.wants, tuple(inheritance.cursors)):
                inheritance.commit(key, inheritance.next)
            inheritance.close_if_delivered()
        inheritance.release()
    if scope.sinks is None:
        for journal in journals:
            _remove_unreadable(journal)


def _remove_unreadable(journal: ProcessJournal) -> None:
    if journal.fault is None:
        return
    try:
        descriptor = files.open_private(journal.folder / "lock", os.O_WRONLY | os.O_CREAT)
    except OSError as error:
        raise JournalError(f"{journal.folder} cannot be deleted: {error}") from error
    try:
        if files.try_lock(descriptor):
            shutil.rmtree(journal.folder)
    finally:
        os.close(descriptor)


def _delete(file: DeadFile) -> None:
    letters = Letters(file.path)
    descriptor = files.open_to_append(file.path)
    try:
        file.path.unlink()
    finally:
        os.close(descriptor)
        letters.close()


def _seconds(text: str) -> float:
    try:
        return float(convert(text, Duration))
    except Unfit as error:
        raise argparse.ArgumentTypeError(f"expected {error.expected}") from error
