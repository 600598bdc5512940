"""
Kinesalite: a Kinesis that checks what it is sent as strictly as AWS does. It throttles nobody and asks for no password.
"""

from tests.servers.kit import install as installers
from tests.servers.kit import ports
from tests.servers.kit.kinesis_api import Api
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program, new_folder

TIER = "quick"

_SCRIPT = """
const [port, path, certificate] = process.argv.slice(1)
const pem = certificate && require('fs').readFileSync(certificate)
const options = {path, createStreamMs: 0, shardLimit: 1000, ssl: !!pem, key: pem, cert: pem, ca: pem}
require('kinesalite')(options).listen(+port, '127.0.0.1')
"""


def install():
    """
    Bring it in by npm; gives the folder of its modules.
    """
    return installers.npm("kinesalite", "kinesalite@3.3.3").parent


def start(certificate=None, authority=None):
    """
    Start it, with TLS where a certificate (private key and chain in one file) and its authority are given.
    """
    modules = install()
    port = ports.free()
    folder = new_folder("kinesalite")
    url = f"{'https' if certificate else 'http'}://{ports.HOST}:{port}"
    command = [
        tool("node", "apt-get install nodejs"),
        "-e",
        _SCRIPT,
        port,
        folder / "data",
        *filter(None, [certificate]),
    ]
    running = Kinesalite("kinesalite", command, endpoint=url, folder=folder, env={"NODE_PATH": str(modules)})
    running.api = Api(url, authority)
    return running.start()


class Kinesalite(Program):
    """
    A running Kinesalite; what it holds survives `kill()` and `restart()`.
    """

    api = None
    """What a consumer sees."""
