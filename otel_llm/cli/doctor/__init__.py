"""
`otel-llm doctor`: whether calls are captured and arrive, and what to do where they do not.
"""

import argparse
import json

from otel_llm.cli.doctor.backlog import journal
from otel_llm.cli.doctor.environment import pitfalls
from otel_llm.cli.doctor.findings import Report
from otel_llm.cli.doctor.output import show
from otel_llm.cli.doctor.packages import instrumentations, sdks, versions
from otel_llm.cli.doctor.probe import sinks
from otel_llm.cli.doctor.settings import configuration, content
from otel_llm.cli.scope import loaded_settings

__all__ = ["add_parser", "examine", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command to the `otel-llm` program.
    """
    parser = subparsers.add_parser("doctor", help="check that calls are captured and arrive")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-probe", action="store_true", help="send no test record and open no connection")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Print the report; 0 when all is well, 1 when there is any problem.
    """
    report = examine(probe=not args.no_probe)
    if args.json:
        print(json.dumps(report.document(), indent=2))
    else:
        show(report)
    return 1 if report.problems else 0


def examine(*, probe: bool = True) -> Report:
    """
    Look at everything; with `probe` each sink receives one test record.
    """
    loaded = loaded_settings()
    return Report(
        (
            versions(),
            sdks(),
            instrumentations(),
            pitfalls(loaded, probe=probe),
            configuration(loaded),
            content(loaded),
            sinks(loaded.sinks, probe=probe),
            journal(loaded),
        )
    )
