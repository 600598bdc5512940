"""Loopback ports."""

import contextlib
import random
import socket
import time

HOST = "127.0.0.1"

_FIRST, _LAST = 15_000, 31_999


def free():
    """
    Give a free port below those that outgoing connections get, so that a killed server finds its own again.
    """
    for port in random.sample(range(_FIRST, _LAST), 100):
        with contextlib.suppress(OSError), socket.socket() as candidate:
            candidate.bind((HOST, port))
            return port
    raise OSError("no free port found")


def is_open(port, host=HOST):
    """
    Whether somebody listens there.
    """
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def wait_until_free(port, timeout=10.0):
    """
    Wait until a port that was in use can be had again.
    """
    deadline = time.monotonic() + timeout
    while is_open(port):
        if time.monotonic() > deadline:
            raise OSError(f"port {port} is still in use after {timeout:g} s")
        time.sleep(0.01)
