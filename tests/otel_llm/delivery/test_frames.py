from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery import frames

payloads = st.lists(st.binary(max_size=300), max_size=12)


def packed(records: list[bytes]) -> bytes:
    return frames.START + b"".join(frames.pack(number, payload) for number, payload in enumerate(records))


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(frame.sequence, frame.payload) for frame in frames.scan(data, last=True).frames]


@given(payloads)
def test_round_trip(records):
    """What was packed is found again, in order."""
    assert read(packed(records)) == list(enumerate(records))


@given(payloads, st.data())
def test_torn_tail(records, data):
    """A file cut off anywhere gives the whole frames before the cut, and nothing else."""
    whole = packed(records)
    cut = data.draw(st.integers(len(frames.START), len(whole)))
    found = read(whole[:cut])
    assert found == list(enumerate(records))[: len(found)]


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8), st.data())
def test_flipped_bit(records, data):
    """One flipped bit costs one record at most; the others are found."""
    damaged = bytearray(packed(records))
    place = data.draw(st.integers(len(frames.START), len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    found = read(bytes(damaged))
    assert len(found) >= len(records) - 1
    assert all(records[sequence] == payload for sequence, payload in found)


@given(payloads, st.integers(1, 80))
def test_read_in_pieces(records, size):
    """A segment that is read piece by piece gives the same frames as one read whole."""
    whole = packed(records)
    at, piece, found = 0, size, []
    while at < len(whole):
        data = whole[at : at + piece]
        scan = frames.scan(data, last=at + len(data) >= len(whole))
        found += [(frame.sequence, frame.payload) for frame in scan.frames]
        piece = size if scan.done else piece * 2
        at += scan.done
    assert found == list(enumerate(records))


def test_marker_in_payload():
    """A payload that holds a whole frame is still one record."""
    inner = frames.pack(7, b"inner")
    assert read(packed([inner, b"next"])) == [(0, inner), (1, b"next")]


def test_version():
    """The version is read from a segment's start, and from nothing else."""
    assert frames.version(frames.START) == frames.VERSION
    assert frames.version(b"something else") is None
    assert frames.version(b"") is None
