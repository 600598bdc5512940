"""`otel-llm journal drain`: delivers what dead processes left, and ends."""

import argparse
from collections.abc import Iterator, Sequence
from shlex import quote

from otel_llm.cli.journal import work
from otel_llm.cli.scope import Scope, scope_of
from otel_llm.cli.units import many
from otel_llm.delivery import adoption, setup
from otel_llm.delivery.adoption import Inheritance
from otel_llm.delivery.backlog import Group, sink_name
from otel_llm.delivery.errand import Errand
from otel_llm.delivery.spec import SinkSpec


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the action `drain`.
    """
    parser = actions.add_parser("drain", help="deliver what dead processes left, to the sinks of the settings")
    work.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Deliver; 0 when nothing of a dead process is left, 1 when something stayed.
    """
    scope = scope_of(args)
    adopted = [(group, inherited) for group in scope.groups() for inherited in _adopt(group, scope)]
    errands = list(_errands(scope, adopted))
    try:
        work.do(errands, args.patience)
    finally:
        for _, inheritance in adopted:
            inheritance.close_if_delivered()
            inheritance.release()
    left = [*work.unfinished(errands, args.patience), *_left(scope)]
    return work.tell(errands, left, "nothing is left" if errands else "nothing was left", as_json=args.json)


def _adopt(group: Group, scope: Scope) -> list[Inheritance]:
    """Take over the journals of a group's dead processes, if there is a sink for them."""
    if not any(_serves(scope, key) for key in group.names()):
        return []
    return adoption.adopt(group.folder, group.sinks.values())


def _serves(scope: Scope, key: str) -> bool:
    return key in scope.specs and scope.wants(key)


def _errands(scope: Scope, adopted: Sequence[tuple[Group, Inheritance]]) -> Iterator[Errand]:
    for group in {group.folder: group for group, _ in adopted}.values():
        inherited = [each for of, each in adopted if of.folder == group.folder]
        for spec in scope.specs.values():
            errand = _errand(scope, group, spec, [each for each in inherited if spec.key in each.cursors])
            if errand.total and scope.wants(spec.key):
                yield errand


def _errand(scope: Scope, group: Group, spec: SinkSpec, inherited: Sequence[Inheritance]) -> Errand:
    return Errand(
        spec,
        setup.delivery_settings(scope.loaded.settings),
        group,
        [(each, each.cursors[spec.key]) for each in inherited],
        torn=sum(each.torn for each in inherited),
        reprice=work.repricing(scope),
    )


def _left(scope: Scope) -> Iterator[str]:
    """
    Say what stays for which nothing could be done.
    """
    for group in scope.all_groups():
        for journal in group.left:
            if journal.fault:
                yield f"{group.service}: the journal of process {journal.process} cannot be read: {journal.fault}"
        for key in group.names():
            pending = group.waiting(key, group.left).pending
            reason = _why_untouched(scope, group, key)
            if pending and reason:
                yield f"{group.service} to {sink_name(key)}: {many(pending, 'record')}: {reason}"


def _why_untouched(scope: Scope, group: Group, key: str) -> str | None:
    if not scope.covers(group):
        return f"another service's; OTEL_SERVICE_NAME={quote(group.service)} otel-llm journal drain delivers them"
    return scope.why_not(key) or (None if scope.wants(key) else "not asked for")
