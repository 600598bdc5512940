"""Text from records, made safe for a terminal: a model's name must not move the cursor or change the title."""

import re

_SEQUENCES = re.compile(
    r"""
    (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]                            # CSI: colours, cursor
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) .*? (?:\x07|\x1b\\|\x9c|\Z) # OSC, DCS and others that carry a text
    | \x1b [ -/]* [0-~]?                                           # every other escape
    """,
    re.VERBOSE | re.DOTALL,
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def clean(text: str) -> str:
    """
    Take out escape sequences and direction marks; line ends and other control characters become one space.
    """
    return _CONTROLS.sub(" ", _SEQUENCES.sub("", text)) if not text.isprintable() else text


def safe_json(document: bytes) -> str:
    """
    Give JSON with all control characters escaped; JSON itself asks that only of those below 0x20.
    """
    return _C1.sub(lambda match: f"\\u{ord(match[0]):04x}", document.decode())


_C1 = re.compile("[\x7f-\x9f]")
