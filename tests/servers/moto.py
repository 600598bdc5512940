"""
Moto: a Kinesis in Python, maintained. It keeps nothing over a restart, throttles nobody and asks for no password.
"""

from tests.servers.kit import install as installers
from tests.servers.kit import ports
from tests.servers.kit.kinesis_api import Api
from tests.servers.kit.program import Program

TIER = "quick"


def install():
    """
    Bring it into an environment of its own: it asks for another botocore than an asynchronous client may have.
    """
    return installers.pip("moto", "moto[kinesis]==5.2.5", "flask>=3", "flask-cors>=6")


def start():
    """
    Start it.
    """
    programs = install()
    port = ports.free()
    command = [programs / "python", "-m", "moto.server", "-H", ports.HOST, "-p", port]
    return Moto("moto", command, endpoint=f"http://{ports.HOST}:{port}").start()


class Moto(Program):
    """
    A running Moto.
    """

    @property
    def api(self):
        """What a consumer sees."""
        return Api(self.endpoint)
