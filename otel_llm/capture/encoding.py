"""Compressed bodies made readable as they arrive, without touching the decoder of the user's response."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

Decode = Callable[[bytes], bytes]


def decoder(content_encoding: str) -> Decode | None:
    """
    Give an incremental decoder for a `Content-Encoding` header; None when a coding is unknown or its library missing.
    """
    steps: list[Decode] = []
    for coding in reversed(content_encoding.lower().split(",")):
        make = _DECODERS.get(coding.strip())
        step = make() if make else None
        if step is None:
            return None
        steps.append(step)
    return steps[0] if len(steps) == 1 else _chained(steps)


def _chained(steps: list[Decode]) -> Decode:
    def decode(data: bytes) -> bytes:
        for step in steps:
            data = step(data)
        return data

    return decode


def _gzip() -> Decode:
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress


def _deflate() -> Decode:
    """
    Read deflate with the zlib header that RFC 9110 asks for, or without it, as some servers send it.
    """
    state = {"decode": zlib.decompressobj().decompress, "begun": False}

    def decode(data: bytes) -> bytes:
        try:
            return state["decode"](data)  # type: ignore[operator, no-any-return]
        except zlib.error:
            if state["begun"]:
                raise
            state["decode"] = zlib.decompressobj(-zlib.MAX_WBITS).decompress
            return state["decode"](data)  # type: ignore[operator, no-any-return]
        finally:
            state["begun"] = True

    return decode


def _brotli() -> Decode | None:
    name = next((name for name in ("brotli", "brotlicffi") if find_spec(name)), None)
    if name is None:
        return None
    library = __import__(name)
    stream = library.Decompressor()
    process = getattr(stream, "process", None) or stream.decompress
    return lambda data: bytes(process(data))


def _zstandard() -> Decode | None:
    """
    Take what is there: the standard library's from Python 3.14 on, its backport (httpx2's choice), or zstandard.
    """
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            decode: Decode = import_module(name).ZstdDecompressor().decompress
            return decode
    if find_spec("zstandard") is None:
        return None
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress


_DECODERS: dict[str, Callable[[], Decode | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstandard,
    "identity": lambda: lambda data: data,
}
