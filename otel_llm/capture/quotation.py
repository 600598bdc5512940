"""
A provider's error message without what it quotes of the prompt.

Where content is not captured, no text of the request may leave in the words that refuse it.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from otel_llm.call import Content

MASK: Final = "[CONTENT]"

SHORTEST: Final = 16
"""Characters that message and prompt must share in a row to be a quotation."""

MOST_STEPS: Final = 1_000_000

_STEP: Final = SHORTEST // 2
_LARGE_PARTS: Final = frozenset({"blob", "file", "uri"})


def unquoted(message: str, content: Content) -> str:
    """
    Replace each run of `SHORTEST` or more characters that also stands in the prompt by `[CONTENT]`.

    Where comparing the two takes more than `MOST_STEPS`, the whole message is replaced.
    """
    # A shared run holds one whole block of the prompt, cut in steps of half its length.
    places = defaultdict(list)
    for at in range(len(message) - _STEP + 1):
        places[message[at : at + _STEP]].append(at)
    quoted = bytearray(len(message))
    steps = 0
    for text, at in _blocks(content):
        for place in places.get(text[at : at + _STEP], ()):
            start, end = _shared(message, place, text, at)
            steps += end - start
            if end - start >= SHORTEST:
                quoted[start:end] = b"\1" * (end - start)
        steps += 1
        if steps > MOST_STEPS:
            return MASK
    return "".join(_shown(message, quoted))


def _blocks(content: Content) -> Iterator[tuple[str, int]]:
    for text in _texts(content.input_messages, content.system_instructions, content.tool_definitions):
        for at in range(0, len(text) - _STEP + 1, _STEP):
            yield text, at


def _texts(*values: object) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(*value)
        elif isinstance(value, dict) and value.get("type") not in _LARGE_PARTS:
            yield from _texts(*value.values())


def _shared(message: str, place: int, text: str, at: int) -> tuple[int, int]:
    """
    Widen a block that both texts have to all they share around it; gives the bounds in the message.
    """
    start, end = place, place + _STEP
    before, after = at, at + _STEP
    while start and before and message[start - 1] == text[before - 1]:
        start, before = start - 1, before - 1
    while end < len(message) and after < len(text) and message[end] == text[after]:
        end, after = end + 1, after + 1
    return start, end


def _shown(message: str, quoted: bytearray) -> Iterator[str]:
    at = 0
    while at < len(message):
        kind = quoted[at]
        end = quoted.find(1 - kind, at)
        end = len(message) if end < 0 else end
        yield MASK if kind else message[at:end]
        at = end
