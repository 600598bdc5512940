"""Text that is safe for a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.telemetry.text import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpt-4o", "gpt-4o"),
        ("日本語 ✓", "日本語 ✓"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\x", "x"),
        ("\x1bcreset", "reset"),
        ("two\r\nlines", "two lines"),
        ("abc\u202edef", "abc def"),
        ("half\x1b", "half"),
    ],
)
def test_known_sequences(text, shown):
    """
    Sequences go with all they carry; line ends become a space.
    """
    assert clean(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    """
    No control character survives, and cleaning twice changes nothing.
    """
    shown = clean(text)
    assert not [letter for letter in shown if letter < " " or "\x7f" <= letter <= "\x9f"]
    assert clean(shown) == shown
