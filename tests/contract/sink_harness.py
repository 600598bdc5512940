"""
What the contract suite (`test_sinks.py`) has to know about a sink: one file in `sink_harnesses/`, named after it.

Such a file has one class, a `Harness`: how the sink is configured against a server of ours, and what arrived there,
counted by something else than the client that the sink uses.
"""

import importlib
from contextlib import contextmanager
from pathlib import Path

from otel_llm.entry_points import distribution, entry_points
from otel_llm.plugins import SINKS


class Harness:
    """
    One sink and what it writes to, as long as a test runs.

    `request` is pytest's: `request.getfixturevalue("servers").start("kafka")` gives a server.
    """

    sink: str
    """The name under which the sink is found; by default the file's."""
    marks = ()
    """Marks of its tests, such as `pytest.mark.server`."""
    client: str | None = None
    """The module that its extra brings."""
    variants = ({},)
    """Further options with each of which a batch arrives: compressions, acknowledgements, bodies."""
    misuses = ()
    """Pairs of options that are wrong and the words that must stand in the report."""
    largest: int | None = None
    """Bytes of the largest record that it takes."""
    served = False
    """Whether it talks to a server: `stop`, `start` and `holding` do something then."""
    troubles = ()
    """Pairs of what can be wrong with where records go, such as `unknown topic`, and words that report it."""
    guarded = False
    """Whether the server can refuse credentials: `refuse` and `accept` do something then."""

    def __init__(self, folder: Path, request) -> None:
        self.folder = folder
        self.request = request

    @property
    def options(self) -> dict[str, object]:
        """
        The sink's options, raw, as a settings file has them.
        """
        return {}

    def troubled(self, trouble: str) -> dict[str, object]:
        """
        Give the options with which one of `troubles` comes about.
        """
        raise NotImplementedError(trouble)

    def arrived(self) -> list[str]:
        """
        Give the event ids that arrived, in order, twice those that came twice.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """
        Stop the server at once.
        """

    def start(self) -> None:
        """
        Start the stopped server again, at the same address, with what it had.
        """

    @contextmanager
    def holding(self):
        """
        Give a function that waits until the server has something and does not answer; it does after the block.
        """
        yield lambda: None

    def refuse(self) -> None:
        """
        Let the server accept our credentials no more.
        """

    def accept(self) -> None:
        """
        Let the server accept them again.
        """

    def close(self) -> None:
        """
        Stop everything.
        """


def sinks() -> list[str]:
    """
    Give the names of our own sinks.
    """
    return sorted(name for name, entry in entry_points(SINKS).items() if distribution(entry) == "otel-llm")


def harnesses() -> dict[str, type[Harness]]:
    """
    Give the harness of each sink that has one.
    """
    files = sorted((Path(__file__).parent / "sink_harnesses").glob("*.py"))
    return {path.stem: _harness(path.stem) for path in files}


def _harness(name: str) -> type[Harness]:
    module = importlib.import_module(f"tests.contract.sink_harnesses.{name}")
    (found,) = (kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__)
    found.sink = name
    return found
