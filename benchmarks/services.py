"""
What the sinks write to, and the clients that do the same without us.

A service is one module: `SERVER` names who is to be started, `sinks` gives rows of ours by name (the sink, its options
and the row of the bare client that it is compared with), `clients` rows of bare clients, made when their turn comes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import bare_kafka
import bare_kinesis
import bare_postgres
import bare_pubsub
import bare_webhook

from otel_llm.telemetry.event import Event

Options = Mapping[str, Any]


class Client(Protocol):
    """
    A client as its documentation uses it.
    """

    def ready(self, event: Event) -> Any:
        """
        Give what an event is to the client; this is not measured.
        """

    def send(self, batch: list[Any]) -> None:
        """
        Send so many of them, and wait until the server has them.
        """

    def close(self) -> None:
        """
        Hang up.
        """


class Service(Protocol):
    """
    One of the modules.
    """

    SERVER: str

    def sinks(self, server: Any) -> Mapping[str, tuple[str, Options, str]]: ...

    def clients(self, server: Any) -> Mapping[str, Callable[[], Client]]: ...


SERVICES: tuple[Service, ...] = (bare_postgres, bare_kafka, bare_kinesis, bare_pubsub, bare_webhook)
