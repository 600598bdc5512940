"""
`python -m tests.servers install NAME | start NAME | list`, from the project's root.
"""
# ruff: noqa: T201 - a program

import argparse
import os
import signal
import sys

from tests.servers.kit import catalogue
from tests.servers.kit.install import SUDO
from tests.servers.kit.missing import Missing


def main():
    arguments = _parser().parse_args()
    if arguments.command == "list":
        _list()
        return
    os.environ.setdefault(SUDO, "1")  # who asks for an installation by name means it
    modules = [catalogue.module(name) for name in arguments.names]
    try:
        _install(modules)
        if arguments.command == "start":
            _start(dict(zip(arguments.names, modules, strict=True)))
    except Missing as missing:
        sys.exit(str(missing))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description="Real servers for the tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name all servers")
    for command, meaning in (("install", "bring servers into the cache"), ("start", "start servers, until Ctrl-C")):
        commands.add_parser(command, help=meaning).add_argument("names", nargs="+", choices=catalogue.names())
    return parser


def _list():
    for name in catalogue.names():
        module = catalogue.module(name)
        print(f"{name:20} {module.TIER:6} {module.__doc__.strip().splitlines()[0]}")


def _install(modules):
    for module in modules:
        module.install()


def _start(modules):
    running = []
    try:
        for name, module in modules.items():
            running.append(module.start())
            print(f"{name} {running[-1].endpoint}", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        for server in reversed(running):
            server.stop()


if __name__ == "__main__":
    main()
