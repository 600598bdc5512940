"""Records in memory, oldest first: those that no disk holds, and those that were written just now."""

from collections import deque
from itertools import islice

from otel_llm.delivery.frames import Frame


class Ring:
    """
    A bounded row of records whose sequence numbers have no gap.
    """

    def __init__(self, capacity: int, max_bytes: float = float("inf")) -> None:
        self.capacity = capacity
        self.first = 0
        """The sequence number of the oldest record."""
        self.size = 0
        """The records' bytes together."""
        self._max_bytes = max_bytes
        self._frames: deque[Frame] = deque()
        self._sizes: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def next(self) -> int:
        """The sequence number after the newest record's."""
        return self.first + len(self._frames)

    @property
    def full(self) -> bool:
        """Whether one more record needs room to be made."""
        return len(self._frames) >= self.capacity or self.size > self._max_bytes

    def append(self, frame: Frame, size: int) -> None:
        """
        Add a record of so many bytes, which follows the last one.
        """
        if not self._frames:
            self.first = frame.sequence
        self._frames.append(frame)
        self._sizes.append(size)
        self.size += size

    def follow(self, frame: Frame, size: int) -> None:
        """
        Add a record and let the oldest go where that is too much; one that does not follow the last begins anew.
        """
        frames = self._frames
        if frames and frames[-1].sequence + 1 != frame.sequence:
            self.release(frame.sequence)
        self.append(frame, size)
        while len(frames) > self.capacity or self.size > self._max_bytes:
            self._forget_oldest()

    def push_out(self) -> int:
        """
        Drop the oldest record to make room; gives its sequence number.
        """
        self._forget_oldest()
        return self.first - 1

    def release(self, below: int) -> None:
        """
        Forget what lies before a sequence number.
        """
        while self._frames and self.first < below:
            self._forget_oldest()

    def since(self, sequence: int, count: int) -> list[Frame]:
        """
        Give up to `count` records from a sequence number on.
        """
        start = max(sequence - self.first, 0)
        return list(islice(self._frames, start, start + count))

    def _forget_oldest(self) -> None:
        self._frames.popleft()
        self.size -= self._sizes.popleft()
        self.first += 1
