"""
Calls that can be told apart: each asks for a model of its own name.
"""

import contextlib
import os

import httpx2


def call(name):
    with httpx2.Client(verify=False) as client:
        client.post(URL, headers=HEADERS, json=asking(name)).raise_for_status()


async def acall(name):
    async with httpx2.AsyncClient(verify=False) as client:
        (await client.post(URL, headers=HEADERS, json=asking(name))).raise_for_status()


@contextlib.contextmanager
def opened(name):
    """
    Give a stream of which one chunk was read.
    """
    with (
        httpx2.Client(verify=False) as client,
        client.stream("POST", URL, headers=HEADERS, json=asking(name, stream=True)) as answer,
    ):
        chunks = answer.iter_bytes()
        next(chunks)
        yield chunks


def asking(name, **more):
    return {"model": name, "messages": [{"role": "user", "content": "hi"}], **more}


URL = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
HEADERS = {"authorization": "Bearer sk-local"}
