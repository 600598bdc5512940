"""
What servers limit: the bytes of an entry, the entries and the bytes of a request.

An entry that is too large has its longest texts cut, with a mark; a batch that is too large goes in several requests,
one after another.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from otel_llm.delivery.http_answer import Answer, outcome
from otel_llm.delivery.sink import Outcome, Receipt, Rejected, Retry
from otel_llm.errors import OtelLLMError

MARK: Final = "… [truncated]"
"""The end of a text that was cut."""
CUT: Final = "otel_llm.truncated"
"""Is true in a document that was cut."""

_LONGEST_TEXT: Final = 1 << 18
_SHORTEST_TEXT: Final = 1 << 5

Entry = bytes | Rejected
"""What is to be sent for a record, or why it is not."""


def entry(document: Mapping[str, Any], most_bytes: int, wrap: Callable[[bytes], bytes] = bytes) -> Entry:
    """
    Give a document as JSON of at most so many bytes, its longest texts cut where that is needed.

    `wrap` makes the whole entry of the document's JSON.
    """
    inner = _to_json(document)
    longest = _LONGEST_TEXT
    while len(body := wrap(inner)) > most_bytes:
        if longest < _SHORTEST_TEXT:
            return Rejected(f"larger than {most_bytes} bytes, even with all its texts cut")
        inner = _to_json({**_cut(msgspec.json.decode(inner), longest), CUT: True})
        longest //= 2
    return body


async def post_all(
    entries: Sequence[Entry], post: Callable[[Sequence[bytes]], Awaitable[Answer]], *, most: int, most_bytes: int
) -> Receipt:
    """
    Post entries in requests of at most `most` entries and `most_bytes`, and stop where the server asks to wait.
    """
    outcomes: list[Outcome] = [one if isinstance(one, Rejected) else Retry(0) for one in entries]
    refused: Rejected | None = None
    for places in _portions(entries, most, most_bytes):
        try:
            told = outcome(await post([body for place in places if isinstance(body := entries[place], bytes)]))
        except OtelLLMError:
            if all(isinstance(one, Retry) for one in outcomes) and refused is None:
                raise
            break  # what was delivered is not sent again; the rest will meet the same error
        if isinstance(told, Rejected) and len(places) > 1:
            refused = told
            continue
        for place in places:
            outcomes[place] = told
        if isinstance(told, Retry):
            break
    if refused is not None and all(isinstance(one, Retry) for one in outcomes):
        return Receipt(refused)  # nothing else is left of the batch: its courier halves it
    return Receipt(outcomes)


def _portions(entries: Sequence[Entry], most: int, most_bytes: int) -> Iterator[list[int]]:
    portion: list[int] = []
    size = 0
    for place, body in enumerate(entries):
        if isinstance(body, Rejected):
            continue
        size += len(body) + 1
        if portion and (len(portion) == most or size > most_bytes):
            yield portion
            portion, size = [], len(body) + 1
        portion.append(place)
    if portion:
        yield portion


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + MARK
    if isinstance(value, dict):
        return {name: _cut(part, longest) for name, part in value.items()}
    if isinstance(value, list):
        return [_cut(part, longest) for part in value]
    return value


_to_json = msgspec.json.Encoder().encode
