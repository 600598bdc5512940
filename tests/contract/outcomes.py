"""
What an application can see of what it did, as plain data that compares.
"""

import re
from typing import Any

import pydantic
from either import drive, opened
from sdk_calls import SdkCall, client_of

from otel_llm.testing import ProviderServer

_NUMBER = re.compile("0{12}[0-9a-f]{12}")
"""The number of a request in the server's answers: it goes up from run to run."""

_SCOPE = re.compile("(?<=cancel scope )[0-9a-f]+")
"""The address of a cancel scope in the words of a cancellation."""

_TRACE = re.compile(rb"(?<=traceparent: 00-)[0-9a-f]{32}-[0-9a-f]{16}")
"""The ids in the header that anthropic's own span adds, with us and without."""


def seen(call: SdkCall, server: ProviderServer, *, asynchronous: bool) -> dict[str, Any]:
    """
    Run a call and give all that its application and its provider see.
    """
    play(call, server)
    return {**drive(_run(call, server, asynchronous=asynchronous), asynchronous=asynchronous), **_arrived(server)}


def play(call: SdkCall, server: ProviderServer) -> None:
    """
    Let the server answer as the call's row says, from a blank page.
    """
    server.clear()
    server.default = call.replies[-1]
    server.queue("", *call.replies[:-1])


async def _run(call: SdkCall, server: ProviderServer, *, asynchronous: bool) -> dict[str, Any]:
    async with opened(client_of(call.sdk, server, asynchronous=asynchronous)) as client:
        try:
            result = {"result": plain(await call.run(client))}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            result = {"error": chain(error)}
        if call.hangs_up:
            server.wait_for(lambda seen: seen.requests[-1].closed_early)
    return result


def _arrived(server: ProviderServer) -> dict[str, Any]:
    return {
        "wire": [_TRACE.sub(b"T", request.wire) for request in server.requests],
        "answered": [request.status for request in server.requests],
    }


def plain(result: Any) -> Any:
    """
    Give a result as its type's name and plain data, without the numbers that the server counts up.
    """
    if isinstance(result, pydantic.BaseModel):
        return type(result).__name__, plain(result.model_dump(warnings=False))
    if isinstance(result, dict):
        return {key: plain(part) for key, part in result.items()}
    if isinstance(result, list | tuple):
        return [plain(part) for part in result]
    if isinstance(result, str):
        return _SCOPE.sub("S", _NUMBER.sub("N", result))
    if isinstance(result, bytes):
        return plain(result.decode("latin-1"))
    return repr(result) if type(result).__repr__ is not object.__repr__ else type(result).__name__


def chain(error: BaseException | None) -> list[Any]:
    """
    Give an exception and what it came from: kinds, words, and what SDKs put on them.
    """
    found = []
    while error is not None:
        facts = {name: plain(getattr(error, name, None)) for name in ("status_code", "body", "request_id", "code")}
        found.append((type(error).__module__, type(error).__qualname__, plain(str(error)), facts))
        error = error.__cause__ or error.__context__
    return found
