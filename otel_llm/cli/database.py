"""Which SQLite file a command reads."""

import argparse
import os
from pathlib import Path

from otel_llm.cli.run import DATABASE
from otel_llm.errors import StoreError


def add_database(parser: "argparse._ActionsContainer") -> None:
    """
    Add the option `--db`.
    """
    parser.add_argument(
        "--db", type=Path, metavar="PATH", help=f"SQLite file (default: $OTEL_LLM_SQLITE_PATH, else ./{DATABASE})"
    )


def database(args: argparse.Namespace) -> Path:
    """
    Give the path that was asked for, else the configured one, else the default.
    """
    return args.db or Path(os.environ.get("OTEL_LLM_SQLITE_PATH") or DATABASE)


def missing(path: Path) -> StoreError:
    """
    Give the error of a file that is not there, with the way out.
    """
    return StoreError(
        f"no records yet: {path} does not exist. "
        f"`otel-llm run -- python app.py` records an application's calls in ./{DATABASE}; --db names another file"
    )
