"""
A sink that takes everything, so that what is measured is the way to it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

METADATA = "Metadata-Version: 2.1\nName: null-sink\nVersion: 1\n"
ENTRY_POINTS = "[otel_llm_sink]\nnull = null_sink:NullSink\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NullOptions:
    """
    There is nothing to choose.
    """


class NullSink:
    """
    Says `delivered`.
    """

    Options = NullOptions

    def __init__(self, options: NullOptions) -> None:
        pass

    async def open(self) -> None:
        pass

    async def send(self, _batch: object) -> object:
        from otel_llm import Receipt

        return Receipt.delivered()

    async def close(self) -> None:
        pass


def offer(folder: Path) -> None:
    """
    Make the sink known to this process as an installed package would be.
    """
    package = folder / "null_sink-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(METADATA)
    (package / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.append(str(folder))
