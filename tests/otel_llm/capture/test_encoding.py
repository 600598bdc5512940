import gzip
import zlib

import brotli
import pytest
import zstandard

from otel_llm.capture.encoding import decoder

BODY = b'{"usage": {"prompt_tokens": 7}}' * 100


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


COMPRESSED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "br": brotli.compress(BODY),
    "zstd": zstandard.compress(BODY),
    "identity": BODY,
}


class TestDecoder:
    @pytest.mark.parametrize("coding", COMPRESSED)
    @pytest.mark.parametrize("size", [1, 7, 1_000_000])
    def test_incremental(self, coding, size):
        """
        A body comes out whole, whatever pieces it arrives in.
        """
        decode, wire = decoder(coding), COMPRESSED[coding]

        assert b"".join(decode(wire[at : at + size]) for at in range(0, len(wire), size)) == BODY

    def test_raw_deflate(self):
        """
        Deflate without the zlib header is read as well.
        """
        assert decoder("deflate")(raw_deflate(BODY)) == BODY

    def test_chain(self):
        """
        Codings are undone in the reverse of the order in which they were applied.
        """
        assert decoder("br, gzip")(gzip.compress(brotli.compress(BODY))) == BODY

    def test_unknown(self):
        """
        A coding nobody knows cannot be read, and says so.
        """
        assert decoder("snappy") is None
