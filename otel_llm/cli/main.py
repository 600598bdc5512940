"""
The command `otel-llm`: finds the subcommand and turns its outcome into an exit code.

0 is done, 1 done with a finding, 2 not possible as asked, 130 interrupted, 141 the reader of our output went away.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import version

from otel_llm.errors import OtelLLMError

COMMANDS = ("run", "doctor", "tail", "report", "price", "journal", "collector-config")
"""Modules of this package (`_` for `-`), each with `add_parser(subparsers)` that sets a default `run(args) -> int`."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one subcommand and give the exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # Only what is asked for is imported: `report` must not wait for what `doctor` needs.
    args = parser(COMMANDS if not words or words[0] not in COMMANDS else words[:1]).parse_args(words)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except OtelLLMError as exc:
        print(f"otel-llm {args.command}: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _drop_output()
        return 141
    except KeyboardInterrupt:
        return 130
    return code


def parser(commands: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """
    Give the parser of these subcommands.
    """
    result = argparse.ArgumentParser(prog="otel-llm", description="Every LLM call, recorded, priced and delivered.")
    result.add_argument("--version", action="version", version=f"%(prog)s {version('otel-llm')}")
    subparsers = result.add_subparsers(dest="command", metavar="command", required=True)
    for name in commands:
        import_module(f"otel_llm.cli.{name.replace('-', '_')}").add_parser(subparsers)
    return result


def _drop_output() -> None:
    # Python flushes stdout once more at exit, which would raise again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
