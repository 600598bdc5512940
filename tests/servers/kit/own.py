"""
Servers of one's own: a cluster or a container that the environment names takes precedence over what we would start.
"""

import os

import pytest


class Own:
    """
    A server that is not ours: it is used, and never stopped.
    """

    def __init__(self, name, endpoint):
        self.name = name
        self.endpoint = endpoint

    def at(self, part):
        """
        Give a further address; the test is skipped when the environment does not name it.
        """
        return endpoint(self.name, part) or pytest.skip(f"{variable(self.name, part)} is not set")

    def stop(self):
        """
        Leave it alone.
        """

    def kill(self):
        """
        Refuse: the test is skipped.
        """
        pytest.skip(f"{variable(self.name)} names a server that is not ours to stop")

    shut_down = restart = pause = resume = kill

    def __getattr__(self, name):
        """
        Skip a test that needs more than an address.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        pytest.skip(f"{variable(self.name)} names a server that has no {name}")


def variable(name, part=""):
    """
    Give the variable that names one's own server, or another address of it: `TEST_OTEL_LLM_KAFKA`, `…_KAFKA_SSL`.
    """
    words = ("TEST_OTEL_LLM", name, part) if part else ("TEST_OTEL_LLM", name)
    return "_".join(words).replace("-", "_").upper()


def endpoint(name, part=""):
    """
    Give the address that the environment names; None where it does not.
    """
    return os.environ.get(variable(name, part)) or None
