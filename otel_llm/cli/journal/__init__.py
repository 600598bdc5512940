"""`otel-llm journal`: what waits to be delivered, and what can be done about it."""

import argparse

from otel_llm.cli.journal import dead, drain, ls, purge, replay

__all__ = ["add_parser"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command `journal` with its own subcommands.
    """
    parser = subparsers.add_parser("journal", help="see, deliver or delete what waits in the journal")
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for action in (ls, drain, dead, replay, purge):
        action.add_parser(actions)
