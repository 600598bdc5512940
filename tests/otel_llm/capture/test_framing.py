from hypothesis import given
from hypothesis import strategies as st

from otel_llm.capture.framing import ServerSentEvents

names = st.sampled_from([b"", b"message_start", b"ping"])
payloads = st.lists(
    st.text(st.characters(exclude_characters="\r\n\x00", codec="utf-8"), min_size=1), min_size=1, max_size=3
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw):
    """
    Give a stream of events, its bytes cut at arbitrary places, and the frames it holds.
    """
    end = draw(line_ends)
    frames, wire = [], b""
    for name, lines in draw(st.lists(st.tuples(names, payloads), max_size=6)):
        data = [line.encode() for line in lines]
        frames.append((name, b"\n".join(data)))
        wire += b"event: " + name + end if name else b""
        wire += draw(st.sampled_from([b"", b": a comment" + end, b"id: 7" + end, b"retry: 10" + end]))
        wire += b"".join(b"data: " + line + end for line in data) + end
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    pieces = [wire[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    return pieces, frames, wire


def read(pieces):
    events = ServerSentEvents()
    frames = [frame for piece in pieces for frame in events.feed(piece)]
    return frames + events.flush()


class TestServerSentEvents:
    @given(streams())
    def test_any_cut(self, stream):
        """
        However the bytes are cut, the same frames come out.
        """
        pieces, frames, _ = stream

        assert frames == read(pieces)

    @given(streams())
    def test_byte_by_byte(self, stream):
        """
        Single bytes make the same frames as the whole.
        """
        _, frames, wire = stream

        assert frames == read([bytes([byte]) for byte in wire])

    def test_one_chunk_one_event(self):
        """
        A chunk that is one event gives its payload at once.
        """
        assert ServerSentEvents().feed(b'data: {"a":1}\n\n') == [(b"", b'{"a":1}')]

    def test_unterminated_end(self):
        """
        What an unterminated last event holds is given at the end.
        """
        events = ServerSentEvents()
        events.feed(b"data: [DONE]\n")

        assert events.flush() == [(b"", b"[DONE]")]

    def test_large_frame_in_small_pieces(self):
        """
        A frame of several megabytes, cut into small pieces, is found.
        """
        payload = b"x" * 3_000_000
        wire = b"data: " + payload + b"\n\n"

        assert [(b"", payload)] == read([wire[at : at + 1_000] for at in range(0, len(wire), 1_000)])
