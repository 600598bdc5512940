"""
Toxiproxy: lines to other servers that are slow, far or narrow, and break off when told.
"""

import json
import urllib.request

from tests.servers.kit import install as installers
from tests.servers.kit import ports
from tests.servers.kit.program import Program

TIER = "full"

_PROGRAM = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"


def install():
    """
    Build it; gives the folder of the program.
    """
    return installers.go("toxiproxy", _PROGRAM)


def start():
    """
    Start it without any lines.
    """
    port = ports.free()
    command = [install() / "server", "-host", ports.HOST, "-port", port]
    return Toxiproxy("toxiproxy", command, endpoint=f"{ports.HOST}:{port}").start()


class Toxiproxy(Program):
    """
    A running Toxiproxy; it forgets its lines when it ends.
    """

    def line(self, upstream):
        """
        Open a line to `host:port`.
        """
        endpoint = f"{ports.HOST}:{ports.free()}"
        self.call("/proxies", name=endpoint, listen=endpoint, upstream=upstream)
        return Line(self, endpoint)

    def clean(self):
        """
        Take all toxics off its lines, and let connections in again.
        """
        self.call("/reset")

    def call(self, path, **arguments):
        """
        Post to its API.
        """
        # It turns away what could be a browser, and urllib says who it is.
        request = urllib.request.Request(f"http://{self.endpoint}{path}", json.dumps(arguments).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


class Line:
    """
    A line through the proxy, clean at first; `endpoint` is where a client gets on.
    """

    def __init__(self, proxy, endpoint):
        self.endpoint = endpoint
        self._proxy = proxy

    def spoil(self, toxic, stream="upstream", **attributes):
        """
        Put a toxic such as `latency` on it, for what a client sends (`upstream`) or what it gets (`downstream`).
        """
        self._proxy.call(f"/proxies/{self.endpoint}/toxics", type=toxic, stream=stream, attributes=attributes)

    def cut(self):
        """
        Break off all connections, and let none in.
        """
        self._proxy.call(f"/proxies/{self.endpoint}", enabled=False)
