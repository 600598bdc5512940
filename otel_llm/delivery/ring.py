"""Records in memory, oldest first, while no disk holds them."""

from collections import deque
from itertools import islice

from otel_llm.delivery.frames import Frame


class Ring:
    """
    A bounded row of payloads with running sequence numbers.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.first = 0
        """The sequence number of the oldest payload."""
        self.dropped_below = 0
        """Records before this one were pushed out by newer ones."""
        self._payloads: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._payloads)

    @property
    def full(self) -> bool:
        """Whether one more payload needs room to be made."""
        return len(self._payloads) >= self.capacity

    @property
    def size(self) -> int:
        """The payloads' bytes together."""
        return sum(map(len, tuple(self._payloads)))

    def append(self, sequence: int, payload: bytes) -> None:
        """
        Add the payload with that number, which follows the last one's.
        """
        if not self._payloads:
            self.first = sequence
        self._payloads.append(payload)

    def push_out(self) -> None:
        """
        Drop the oldest payload to make room.
        """
        self._payloads.popleft()
        self.first += 1
        self.dropped_below = self.first

    def release(self, below: int) -> None:
        """
        Forget what lies before a sequence number.
        """
        while self._payloads and self.first < below:
            self._payloads.popleft()
            self.first += 1

    def since(self, sequence: int, count: int) -> list[Frame]:
        """
        Give up to `count` records from a sequence number on.
        """
        start = max(sequence, self.first)
        chosen = islice(self._payloads, start - self.first, start - self.first + count)
        return [Frame(number, payload) for number, payload in enumerate(chosen, start)]
