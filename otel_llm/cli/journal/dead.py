"""`otel-llm journal dead`: the records that sinks refused, with the reason."""

import argparse
from collections.abc import Iterator
from typing import Any

import msgspec

from otel_llm.call import Content
from otel_llm.capture.quotation import unquoted
from otel_llm.cli import table
from otel_llm.cli.scope import Scope, add_folder, add_sinks, scope_of
from otel_llm.delivery.backlog import sink_name
from otel_llm.delivery.dead_letters import DeadLetter
from otel_llm.delivery.letters import letters
from otel_llm.delivery.route import CONTENT
from otel_llm.telemetry.text import safe_json


def add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the action `dead`.
    """
    parser = actions.add_parser("dead", help="list the dead letters: when, which sink, after how many tries, why")
    add_folder(parser)
    add_sinks(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, one letter a line")
    parser.add_argument(
        "--records", action="store_true", help="with --json: the whole records, prompts and answers too"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print the letters; 1 when there are any.
    """
    found = _letters(scope_of(args))
    if args.json:
        return 1 if _print_documents(found, whole=args.records) else 0
    rows = [_row(service, letter) for service, letter in found]
    if not rows:
        print("no dead letters")
        return 0
    table.show(("time", "service", "sink", "tries", "event", "model", "reason"), rows, right=(3,))
    return 1


def _print_documents(found: Iterator[tuple[str, DeadLetter]], *, whole: bool) -> int:
    number = 0
    for service, letter in found:
        print(safe_json(_encode(_document(service, letter, whole=whole))))
        number += 1
    return number


def _letters(scope: Scope) -> Iterator[tuple[str, DeadLetter]]:
    for group in scope.groups():
        for file in group.dead:
            if scope.wants(file.sink):
                yield from ((group.service, letter) for letter in letters(file.path))


def _row(service: str, letter: DeadLetter) -> tuple[str, ...]:
    model = str(_attributes(letter).get("gen_ai.request.model", "-"))
    return letter.time, service, sink_name(letter.sink), str(letter.attempts), letter.event_id, model, reason(letter)


def _document(service: str, letter: DeadLetter, *, whole: bool) -> dict[str, object]:
    attributes = _attributes(letter)
    told = {
        "time": letter.time,
        "service": service,
        "sink": sink_name(letter.sink),
        "attempts": letter.attempts,
        "event_id": letter.event_id,
        "provider": attributes.get("gen_ai.provider.name"),
        "model": attributes.get("gen_ai.request.model"),
        "reason": letter.reason if whole else reason(letter),
    }
    return {**told, "event": letter.event} if whole else told


def _attributes(letter: DeadLetter) -> dict[str, Any]:
    found = letter.event.get("attributes")
    return found if isinstance(found, dict) else {}


def reason(letter: DeadLetter) -> str:
    """
    Give why the record was refused, without what a server quoted from its prompt or answer.
    """
    attributes = _attributes(letter)
    said = [letter.event.get("body"), *(value for name, value in attributes.items() if CONTENT.fullmatch(name))]
    return unquoted(letter.reason, Content(input_messages=[{"said": said}]))


_encode = msgspec.json.Encoder().encode
