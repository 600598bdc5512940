"""`otel-llm journal replay`: sends dead letters to their sinks once more."""

import argparse
from collections.abc import Iterator
from dataclasses import replace

from otel_llm.cli.journal import work
from otel_llm.cli.scope import Scope, scope_of
from otel_llm.cli.units import many
from otel_llm.delivery import setup
from otel_llm.delivery.backlog import DeadFile, Group, sink_name
from otel_llm.delivery.errand import Errand
from otel_llm.delivery.letters import Letters
from otel_llm.delivery.spec import SinkSpec


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the action `replay`.
    """
    parser = actions.add_parser("replay", help="send dead letters to their sinks once more")
    work.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Deliver the letters; 0 when none is left, 1 when some stayed or died again.
    """
    scope = scope_of(args)
    files = [(group, file) for group in scope.groups() for file in group.dead if scope.wants(file.sink)]
    replayed = [
        (group, Letters(file.path), scope.specs[file.sink]) for group, file in files if file.sink in scope.specs
    ]
    settings = setup.delivery_settings(scope.loaded.settings)
    errands = [Errand(_again(spec), settings, group, [(letters, 0)]) for group, letters, spec in replayed]
    try:
        work.do(errands, args.patience)
    finally:
        for _, letters, _ in replayed:
            letters.close()
    left = [*work.unfinished(errands, args.patience), *_left(scope)]
    return work.tell(errands, left, "no dead letter is left" if errands else "no dead letters", as_json=args.json)


def _again(spec: SinkSpec) -> SinkSpec:
    """
    Take from a sink what would leave letters out: they were chosen before, and are wanted now.
    """
    return replace(spec, where={}, sample=1.0, max_rate=None, max_age=None)


def _left(scope: Scope) -> Iterator[str]:
    for group in scope.all_groups():
        for file in group.dead:
            yield f"{group.service} to {sink_name(file.sink)}: {many(file.letters, 'letter')}{_why(scope, group, file)}"


def _why(scope: Scope, group: Group, file: DeadFile) -> str:
    if not scope.covers(group):
        return ": another service's"
    reason = scope.why_not(file.sink) or (None if scope.wants(file.sink) else "not asked for")
    return f": {reason}" if reason else ", see `otel-llm journal dead`"
