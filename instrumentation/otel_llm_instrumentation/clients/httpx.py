"""
httpx and httpx2: `Client.send` and `AsyncClient.send`, wrapped on the class.

Both libraries have the same shape, and `httpx2.alias_httpx()` even makes them one, so one plugin serves both. A body
that the client has read is taken from the response; any other is seen by a tap inside the response's own stream, as
the user reads it.
"""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from otel_llm.capture.exchange import HttpRequest
from otel_llm.capture.harmless import harmless
from otel_llm.capture.observer import Observer, Sending

Observed = Callable[[], Observer | None]

SWITCHING_PROTOCOLS = 101
_MARK = "__otel_llm__"


class HTTPX:
    """
    The client plugin for httpx and httpx2.
    """

    modules = ("httpx", "httpx2")

    def install(self, module: ModuleType, observer: Observed) -> None:
        """
        Wrap both clients of the library, unless they are wrapped already.
        """
        _wrap(module.Client, functools.partial(_sending, observer=observer, tap=_tap(module.SyncByteStream)))
        _wrap(
            module.AsyncClient,
            functools.partial(_sending_async, observer=observer, tap=_async_tap(module.AsyncByteStream)),
        )

    def uninstall(self, module: ModuleType) -> None:
        """
        Put the library's own methods back.
        """
        for client in (module.Client, module.AsyncClient):
            send = client.__dict__["send"]
            # A wrapper that somebody put around ours shows our mark, too: it stays, and ours only passes on.
            ours = getattr(send, _MARK, None)
            if ours is not None and ours is send:
                client.send = ours.__wrapped__


def _wrap(client: Any, wrapper: Callable[[Any], Any]) -> None:
    send = client.__dict__["send"]
    if hasattr(send, _MARK):
        return
    wrapped = wrapper(send)
    setattr(wrapped, _MARK, wrapped)
    client.send = wrapped


def _sending(send: Any, *, observer: Observed, tap: Any) -> Any:
    begin = _beginner(observer)

    @functools.wraps(send)
    def wrapped(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sending = begin(request)
        if sending is None:
            return send(self, request, *args, **kwargs)
        sending.attach()
        try:
            response = send(self, _changed(request, sending) if sending.changes else request, *args, **kwargs)
        except BaseException as error:
            sending.failed(error)
            raise
        finally:
            sending.detach()
        _observe(response, request, sending, tap)
        return response

    return wrapped


def _sending_async(send: Any, *, observer: Observed, tap: Any) -> Any:
    begin = _beginner(observer)

    @functools.wraps(send)
    async def wrapped(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sending = begin(request)
        if sending is None:
            return await send(self, request, *args, **kwargs)
        sending.attach()
        try:
            response = await send(self, _changed(request, sending) if sending.changes else request, *args, **kwargs)
        except BaseException as error:
            sending.failed(error)
            raise
        finally:
            sending.detach()
        _observe(response, request, sending, tap)
        return response

    return wrapped


def _beginner(observer: Observed) -> Callable[[Any], Sending | None]:
    @harmless
    def begin(request: Any) -> Sending | None:
        seen = observer()
        if seen is None:
            return None
        url = request.url
        method, host, port, path = request.method, url.host, url.port, url.path
        endpoint = seen.endpoint(method, host, port, path)
        if endpoint is None:
            return None
        # `request.content` would raise for a body that the user streams, `request.read()` would use it up.
        body = getattr(request, "_content", None)
        port = port or _PORTS.get(url.scheme)
        query = url.query.decode("latin-1")
        return seen.begin(endpoint, HttpRequest(method, host, port, path, request.headers.raw, body, query))

    return begin


_PORTS = {"https": 443, "http": 80}


def _changed(request: Any, sending: Sending) -> Any:
    """
    Give the request that goes out: the user's own, unless the operator wants something added for its host.
    """
    body, headers = sending.asking_for_usage(), sending.headers()
    if body is None and not headers:
        return request
    return _with(request, body, headers or {}) or request


@harmless
def _with(request: Any, body: bytes | None, headers: dict[str, str]) -> Any:
    merged = request.headers.copy()
    merged.update(headers)
    if body is None:
        body = request._content  # noqa: SLF001
    else:
        # A compressed answer could not be shown without the part that we asked for.
        merged["accept-encoding"] = "identity"
        merged["content-length"] = str(len(body))
    return type(request)(request.method, request.url, headers=merged, content=body, extensions=request.extensions)


@harmless
def _observe(response: Any, request: Any, sending: Sending, tap: Any) -> None:
    if response.status_code == SWITCHING_PROTOCOLS:
        return
    if sending.strains and not response.history:
        response.request = request
    headers = response.headers.raw
    if hasattr(response, "_content"):
        sending.answered(response.status_code, headers, response.content)
        return
    sending.opened(response.status_code, headers)
    # The outer stream is the library's own and carries `elapsed`; the inner one is what it reads from.
    outer = response.stream
    if hasattr(outer, "_stream"):
        outer._stream = tap(outer._stream, sending)  # noqa: SLF001
    else:
        response.stream = tap(outer, sending)


def _tap(base: Any) -> Any:
    """
    Make the sync tap of one library: it checks that a stream is an instance of its own class.
    """

    class Tap(_Tapped, base):  # type: ignore[misc]
        """
        Shows a stream's bytes to a sending as they pass.
        """

        # A generator costs half of an iterator class.
        def __iter__(self) -> Iterator[bytes]:
            sending = self._sending
            show = sending.strain if sending.strains else sending.feed
            try:
                for chunk in self._stream:
                    yield show(chunk)
                if sending.strains:
                    yield sending.unshown()
            except GeneratorExit:
                sending.dropped()
                raise
            except BaseException as error:
                sending.ended("failed", error)
                raise
            sending.ended("complete")

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._sending.ended("closed")

    return Tap


def _async_tap(base: Any) -> Any:
    """
    Make the async tap of one library.
    """

    class AsyncTap(_Tapped, base):  # type: ignore[misc]
        """
        Shows a stream's bytes to a sending as they pass, asynchronously.
        """

        async def __aiter__(self) -> AsyncIterator[bytes]:
            sending = self._sending
            show = sending.strain if sending.strains else sending.feed
            chunks = self._stream.__aiter__()
            try:
                async for chunk in chunks:
                    yield show(chunk)
                if sending.strains:
                    yield sending.unshown()
            except GeneratorExit:
                sending.dropped()
                raise
            except BaseException as error:
                sending.ended("failed", error)
                raise
            finally:
                if hasattr(chunks, "aclose"):
                    await chunks.aclose()
            sending.ended("complete")

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._sending.ended("closed")

    return AsyncTap


class _Tapped:
    """
    What both taps are: a stream with a sending beside it.
    """

    def __init__(self, stream: Any, sending: Sending) -> None:
        self._stream = stream
        self._sending = sending

    def __getattr__(self, name: str) -> Any:
        if name in {"_stream", "_sending"}:
            raise AttributeError(name)
        return getattr(self._stream, name)

    def __del__(self) -> None:
        self._sending.dropped()
