"""Records that were given up, by sequence number, and why: readers count them when they come to the place."""

from typing import NamedTuple

UNKNOWN = "corrupt"
"""What is missing though nobody gave it up was damaged."""


class Gap(NamedTuple):
    """
    Records from `first` up to, not including, `end`.
    """

    first: int
    end: float
    reason: str


class Gaps:
    """
    All that was given up in one journal.
    """

    def __init__(self) -> None:
        self._known: list[Gap] = []

    def note(self, first: int, end: int, reason: str) -> None:
        """
        Note what was given up just now.
        """
        if self._known and self._known[-1].end == first and self._known[-1].reason == reason:
            first = self._known.pop().first
        self._known.append(Gap(first, end, reason))

    def at(self, sequence: int) -> Gap:
        """
        Give the gap that begins, or goes on, with a record that is missing.
        """
        for gap in self._known:
            if gap.first <= sequence < gap.end:
                return gap
        end = min((gap.first for gap in self._known if gap.first > sequence), default=float("inf"))
        return Gap(sequence, end, UNKNOWN)
