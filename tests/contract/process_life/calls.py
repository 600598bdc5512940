"""
Calls that can be told apart: each asks for a model of its own name.
"""

import contextlib
import functools
import importlib
import os
import ssl

import httpx2


def call(name):
    with httpx2.Client(verify=prepared()) as client:
        client.post(URL, headers=HEADERS, json=asking(name)).raise_for_status()


async def acall(name):
    async with httpx2.AsyncClient(verify=prepared()) as client:
        (await client.post(URL, headers=HEADERS, json=asking(name))).raise_for_status()


@contextlib.contextmanager
def opened(name):
    """
    Give a stream of which one chunk was read.
    """
    with (
        httpx2.Client(verify=prepared()) as client,
        client.stream("POST", URL, headers=HEADERS, json=asking(name, stream=True)) as answer,
    ):
        chunks = answer.iter_bytes()
        next(chunks)
        yield chunks


@functools.cache
def prepared():
    """
    Give an SSL context, and import what calls would.

    Who forks while a thread does either has a child that waits for a lock for ever, observed or not.
    """
    for module in ("encodings.idna", "httpcore2"):
        importlib.import_module(module)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def asking(name, **more):
    return {"model": name, "messages": [{"role": "user", "content": "hi"}], **more}


URL = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
HEADERS = {"authorization": "Bearer sk-local"}
