"""The test servers by name: each module beside this folder is one."""

import importlib
import pkgutil

from tests import servers


def names():
    """
    Give the names of all servers; `kafka_mock.py` is `kafka-mock`.
    """
    found = (info.name for info in pkgutil.iter_modules(servers.__path__) if not info.ispkg)
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def module(name):
    """
    Import the module of one server.
    """
    return importlib.import_module(f"tests.servers.{name.replace('-', '_')}")
