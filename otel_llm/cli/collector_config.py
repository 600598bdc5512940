"""`otel-llm collector-config`: configurations for an OpenTelemetry Collector, each ready to run."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from otel_llm.errors import OtelLLMError
from otel_llm.settings.conversion import listed, nearest

PLACES = tuple(place / "collector-config" for place in Path(__file__).parents[1:3])
"""Where the files are: inside the installed package, or beside it in a clone."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command `collector-config`.
    """
    parser = subparsers.add_parser("collector-config", help="print a configuration for an OpenTelemetry Collector")
    parser.add_argument("name", nargs="?", help="which one; without a name, all are listed")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print one configuration, or what there is.
    """
    found = configurations()
    if args.name is None:
        width = max(map(len, found))
        print(*(f"{name:{width}}  {_summary(path)}" for name, path in found.items()), sep="\n")
        return 0
    print(_named(args.name.removesuffix(".yaml"), found).read_text("utf-8"), end="")
    return 0


def configurations() -> Mapping[str, Path]:
    """
    Give the files by name.
    """
    files = [path for place in PLACES for path in sorted(place.glob("*.yaml"))]
    return {path.stem: path for path in files}


def _summary(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def _named(name: str, found: Mapping[str, Path]) -> Path:
    if name in found:
        return found[name]
    likely = nearest(name, found)
    hint = f" (did you mean {likely!r}?)" if likely else ""
    raise OtelLLMError(f"found {name!r}, expected {listed(found)}{hint}")
