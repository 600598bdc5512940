"""`otel-llm journal dead`: the records that sinks refused, with the reason."""

import argparse
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from otel_llm.cli import table
from otel_llm.cli.scope import Scope, add_folder, add_sinks, scope_of
from otel_llm.delivery.backlog import sink_name
from otel_llm.delivery.dead_letters import DeadLetter
from otel_llm.delivery.letters import letters
from otel_llm.delivery.route import CONTENT
from otel_llm.telemetry.text import safe_json

QUOTED: Final = 12
"""So many characters of a prompt or answer in a row are a quotation."""


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
    said = [text for name in CONTENT for text in _texts(attributes.get(name))] + list(_texts(letter.event.get("body")))
    return _without_quotations(letter.reason, said)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield msgspec.json.encode(value).decode()[1:-1]
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _without_quotations(text: str, said: list[str]) -> str:
    shown = [True] * len(text)
    for start in range(len(text)):
        window = text[start : start + QUOTED]
        if any(window in each if len(window) == QUOTED else False for each in said):
            shown[start : start + QUOTED] = [False] * QUOTED
    return _joined(text, shown)


def _joined(text: str, shown: list[bool]) -> str:
    kept = []
    for number, character in enumerate(text):
        if shown[number]:
            kept.append(character)
        elif not number or shown[number - 1]:
            kept.append("[...]")
    return "".join(kept)


_encode = msgspec.json.Encoder().encode
