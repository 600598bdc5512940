"""
Google's own fake of Pub/Sub for Go programs, `pstest`: it does not deliver in order, and forgets all when it ends.
"""

import hashlib

from tests.servers.kit import cache, ports
from tests.servers.kit.install import run
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program
from tests.servers.kit.pubsub_api import Api

TIER = "full"

_VERSION = "v1.50.1"
_MAIN = """
package main

import (
	"os"

	"cloud.google.com/go/pubsub/pstest"
)

func main() {
	pstest.NewServerWithAddress(os.Args[1])
	select {}
}
"""
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def install():
    """
    Build it; gives the folder of the program.
    """
    compiler = tool("go", "see https://go.dev/dl")

    def build(folder):
        (folder / "main.go").write_text(_MAIN)
        for command in (
            ["mod", "init", "pstest"],
            ["get", f"cloud.google.com/go/pubsub@{_VERSION}"],
            ["mod", "tidy"],
            ["build", "-o", "pstest", "."],
        ):
            run([compiler, *command], env=_ENVIRONMENT, cwd=folder)

    return cache.made(f"pstest-{hashlib.sha256((_VERSION + _MAIN).encode()).hexdigest()[:12]}", build)


def start():
    """
    Start it.
    """
    endpoint = f"{ports.HOST}:{ports.free()}"
    running = Pstest("pstest", [install() / "pstest", endpoint], endpoint=endpoint)
    return running.start()


class Pstest(Program):
    """
    A running `pstest`.
    """

    @property
    def api(self):
        """What a consumer sees."""
        return Api(self.endpoint)
