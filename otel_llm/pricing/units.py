"""
The units that are priced, and how they lie inside one another.

Counts overlap: input tokens include the cached ones, cached ones include cached audio. A unit is charged for what is
left of it when every priced unit inside it has been charged; one without a price of its own therefore falls to the
unit around it and is never free.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple


class Unit(NamedTuple):
    """
    One thing that providers charge for.
    """

    name: str
    """Its key in `Cost.unit_prices`."""
    field: str
    """The field of `Usage` that counts it; empty for the request itself."""
    part: str
    """The field of `Cost` it is charged to."""
    kind: frozenset[str]
    """What it is; a unit of a larger kind lies inside every unit of a smaller one."""
    book: str
    """Its price key in genai-prices."""
    option: str
    """Its key in the operator's YAML."""
    per: int = 1_000_000
    """How many of it the operator's price buys."""
    book_per: int = 1_000_000
    """How many of it the book's price buys."""

    @property
    def words(self) -> str:
        """Its name in words."""
        return self.name.replace("_", " ")


def _unit(name: str, part: str, kind: str, book: str, option: str) -> Unit:
    return Unit(name, f"{name}_tokens", part, frozenset(kind.split()), book, option)


UNITS: Final = (
    _unit("input", "input", "input", "input_mtok", "inputPer1M"),
    _unit("cache_read", "cache_read", "input read", "cache_read_mtok", "cachedPer1M"),
    _unit("cache_write", "cache_write", "input write", "cache_write_mtok", "cacheWritePer1M"),
    _unit("cache_write_1h", "cache_write", "input write 1h", "cache_write_1h_mtok", "cacheWrite1hPer1M"),
    _unit("text_input", "input", "input text", "input_text_mtok", "textInputPer1M"),
    _unit("text_cache_read", "cache_read", "input text read", "cache_text_read_mtok", "textCachedPer1M"),
    _unit("audio_input", "audio", "input audio", "input_audio_mtok", "audioInputPer1M"),
    _unit("audio_cache_read", "audio", "input audio read", "cache_audio_read_mtok", "audioCachedPer1M"),
    _unit("image_input", "image", "input image", "input_image_mtok", "imageInputPer1M"),
    _unit("image_cache_read", "image", "input image read", "cache_image_read_mtok", "imageCachedPer1M"),
    _unit("output", "output", "output", "output_mtok", "outputPer1M"),
    _unit("reasoning", "reasoning", "output reasoning", "output_reasoning_mtok", "reasoningPer1M"),
    _unit("text_output", "output", "output text", "output_text_mtok", "textOutputPer1M"),
    _unit("audio_output", "audio", "output audio", "output_audio_mtok", "audioOutputPer1M"),
    _unit("image_output", "image", "output image", "output_image_mtok", "imageOutputPer1M"),
    Unit(
        "web_search",
        "web_searches",
        "tools",
        frozenset({"search"}),
        "web_searches_kcount",
        "webSearchPer1K",
        per=1_000,
        book_per=1_000,
    ),
    Unit("request", "", "requests", frozenset({"request"}), "requests_kcount", "perRequest", per=1, book_per=1_000),
)

BY_NAME: Final = {unit.name: unit for unit in UNITS}


def innermost_first(names: Iterable[str]) -> tuple[Unit, ...]:
    """
    Give the units of these names so that each comes after all that lie inside it.
    """
    return tuple(sorted((BY_NAME[name] for name in names), key=lambda unit: (-len(unit.kind), UNITS.index(unit))))
