"""
A web client alone: bodies that lie ready, posted as one array for each batch.
"""

from typing import Any

import httpx2

from otel_llm.formats import find

SERVER = "receiver"


def sinks(server: Any) -> dict[str, Any]:
    """
    Give what is ours.
    """
    return {"webhook": ("webhook", {"url": server.endpoint}, "bare httpx2")}


def clients(server: Any) -> dict[str, Any]:
    """
    Give what is not.
    """
    return {"bare httpx2": lambda: Httpx(server.endpoint)}


class Httpx:
    """
    httpx2 as its documentation uses it.
    """

    ready = staticmethod(find("otel").encode)

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx2.Client()

    def send(self, bodies: list[bytes]) -> None:
        content = b"[" + b",".join(bodies) + b"]"
        self._client.post(self._url, content=content, headers={"content-type": "application/json"}).raise_for_status()

    def close(self) -> None:
        self._client.close()
