"""
Client plugins, switched on and off: each is told when the application imports a library it knows.

A client plugin names its `modules` and has `install(module, observer)` and `uninstall(module)`, where `observer` gives
the process's observer, or None while there is none.
"""

import sys
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, ClassVar, Protocol

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from wrapt import register_post_import_hook

from otel_llm import pipeline, plugins
from otel_llm.capture.harmless import harmless
from otel_llm.capture.observer import Observer

Observed = Callable[[], Observer | None]


class Client(Protocol):
    """
    The seam for HTTP clients and SDKs: wraps the one method through which a library sends.
    """

    modules: tuple[str, ...]

    def install(self, module: ModuleType, observer: Observed) -> None:
        """
        Wrap the library, unless it is wrapped already.
        """

    def uninstall(self, module: ModuleType) -> None:
        """
        Put the library's own methods back.
        """


class ClientInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """
    An OpenTelemetry instrumentor for client plugins; name those of a subclass in `clients`.
    """

    clients: ClassVar[tuple[str, ...]] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """
        Ask for nothing: a library that is not there is simply never imported.
        """
        return ()

    def _instrument(self, **_kwargs: Any) -> None:
        if pipeline.current() is not None:
            instrument(*self.clients)

    def _uninstrument(self, **_kwargs: Any) -> None:
        uninstrument(*self.clients)


def instrument(*names: str) -> None:
    """
    Capture what these client plugins see, all of them when none is named; starts the pipeline if need be.
    """
    pipeline.start()
    known = plugins.clients()
    for name in names or known:
        _install(name, known[name]())


def uninstrument(*names: str) -> None:
    """
    Capture no more of what these client plugins see, of all when none is named.
    """
    for name in names or tuple(_active):
        client = _active.pop(name, None)
        for module in client.modules if client else ():
            if module in sys.modules:
                client.uninstall(sys.modules[module])


_active: dict[str, Any] = {}


def _install(name: str, client: Client) -> None:
    if name in _active:
        return
    _active[name] = client
    for module in client.modules:
        register_post_import_hook(_hook(name, client), module)


def _hook(name: str, client: Client) -> Callable[[ModuleType], None]:
    @harmless
    def imported(module: ModuleType) -> None:
        if _active.get(name) is client:
            client.install(module, _observer_for(name))
            _load_prices()

    return imported


def _observer_for(name: str) -> Observed:
    """
    Give the observer of the process to a client, for as long as the client is switched on.
    """

    def observer() -> Observer | None:
        running = pipeline.current()
        return running.observer if running is not None and name in _active else None

    return observer


def _load_prices() -> None:
    running = pipeline.current()
    if running is not None:
        running.book.load_in_background()
