"""
Calls that can be told apart: each asks for a model of its own name.

Nothing is imported in a call, and no SSL context made: a child that is forked while another thread does so waits for a
lock for ever, observed or not.
"""

import contextlib
import encodings.idna  # noqa: F401 - the socket module's
import os
import ssl

import httpcore2  # noqa: F401 - httpx2's
import httpx2


def call(name):
    with httpx2.Client(verify=TLS) as client:
        client.post(URL, headers=HEADERS, json=asking(name)).raise_for_status()


async def acall(name):
    async with httpx2.AsyncClient(verify=TLS) as client:
        (await client.post(URL, headers=HEADERS, json=asking(name))).raise_for_status()


@contextlib.contextmanager
def opened(name):
    """
    Give a stream of which one chunk was read.
    """
    with (
        httpx2.Client(verify=TLS) as client,
        client.stream("POST", URL, headers=HEADERS, json=asking(name, stream=True)) as answer,
    ):
        chunks = answer.iter_bytes()
        next(chunks)
        yield chunks


def asking(name, **more):
    return {"model": name, "messages": [{"role": "user", "content": "hi"}], **more}


URL = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
HEADERS = {"authorization": "Bearer sk-local"}
