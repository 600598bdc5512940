import pytest

from otel_llm.delivery.frames import Frame
from otel_llm.delivery.ring import Ring


def sequences(ring):
    return [frame.sequence for frame in ring.since(0, 1000)]


@pytest.fixture
def ring():
    ring = Ring(capacity=3, max_bytes=100)
    for sequence in (5, 6, 7):
        ring.follow(Frame(sequence, b""), 10)
    return ring


class TestFollow:
    def test_too_many(self, ring):
        """
        The oldest goes where one more would be too many.
        """
        ring.follow(Frame(8, b""), 10)
        assert (sequences(ring), ring.first, ring.next, ring.size) == ([6, 7, 8], 6, 9, 30)

    def test_too_large(self, ring):
        """
        As many go as make room, whatever they hold themselves.
        """
        ring.follow(Frame(8, b""), 85)
        assert (sequences(ring), ring.size) == ([7, 8], 95)

    def test_larger_than_all(self, ring):
        """
        One that is too large by itself is not kept.
        """
        ring.follow(Frame(8, b""), 101)
        assert (sequences(ring), ring.next, ring.size) == ([], 9, 0)

    def test_gap(self, ring):
        """
        Behind a gap it begins anew.
        """
        ring.follow(Frame(9, b""), 10)
        assert (sequences(ring), ring.first, ring.size) == ([9], 9, 10)


class TestRelease:
    def test_some(self, ring):
        """
        What lies before a number is forgotten, with its bytes.
        """
        ring.release(7)
        assert (sequences(ring), ring.first, ring.size) == ([7], 7, 10)

    def test_all(self, ring):
        """
        It may be empty, and knows what follows.
        """
        ring.release(100)
        assert (sequences(ring), ring.next, ring.size) == ([], 8, 0)
