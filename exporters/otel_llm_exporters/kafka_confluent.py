"""
The sink `kafka` on confluent-kafka, whose work is done by librdkafka's own threads.

Delivery reports are collected on our loop: while messages are on their way it looks in at intervals that grow from one
millisecond, otherwise not at all.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from otel_llm.delivery.sink import DELIVERED, Outcome
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters import kafka_oauth
from otel_llm_exporters.kafka import (
    BATCH_BYTES,
    LOGIN_REFUSED,
    MOST_BYTES,
    TOPIC_UNKNOWN,
    UNAUTHORIZED,
    KafkaOptions,
    Message,
    outcome,
    words,
)

_FIRST_LOOK: Final = 0.001
_LONGEST_LOOK: Final = 0.05
_GRACE: Final = 0.1
_LOOK_AROUND: Final = 0.5
"""How long to wait for an answer before asking why there is none."""
_TOPIC_SECONDS: Final = 5.0
"""How long a topic may take to appear after it was first asked for."""
_ACKS: Final = {"none": 0, "leader": 1, "all": -1}
_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, *UNAUTHORIZED})  # noqa: SLF001 - so it is spelled
_NO_TOPIC: Final = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, TOPIC_UNKNOWN})  # noqa: SLF001
_TLS: Final = KafkaError._SSL  # noqa: SLF001 - same
_TELLING: Final = frozenset({*_REFUSED, _TLS})
"""What says most about why there is no connection."""
_HOPELESS: Final = frozenset({*_TELLING, KafkaError._ALL_BROKERS_DOWN})  # noqa: SLF001 - same
"""What no waiting mends."""


class ConfluentClient:
    """
    A producer that is made anew whenever it is opened.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._producer: Producer | None = None
        self._complaint: KafkaError | None = None
        self._outdated = False
        """Whether librdkafka would not notice for minutes that a topic is there now."""

    async def open(self) -> None:
        await self.close()
        self._complaint, self._outdated = None, False
        self._producer = producer = self._made()
        deadline = time.monotonic() + self._options.timeout_ms / 1000
        while (error := await asyncio.to_thread(_unreachable, producer)) is not None:
            if self._is_hopeless() or time.monotonic() > deadline:
                raise _failure(self._complaint or error, self._options)

    def _made(self) -> Producer:
        try:
            return Producer(_settings(self._options) | {"error_cb": self._complain, "logger": _SILENT})
        except KafkaException as error:
            raise NotDelivered(f"librdkafka does not take the options ({error.args[0].name()})") from error

    async def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        if self._producer is None or self._outdated:
            await self.open()
        producer = self._producer
        if producer is None:
            raise NotDelivered("the producer is closed")
        reports = _Reports(len(messages))
        for place, message in enumerate(messages):
            while not _handed_over(producer, message, partial(reports.note, place)):
                producer.poll(0)
                await asyncio.sleep(_FIRST_LOOK)
        await _collect(producer, reports)
        return [self._outcome(error) for error in reports.errors]

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def _outcome(self, error: KafkaError | None) -> Outcome:
        if error is None:
            return DELIVERED
        code = TOPIC_UNKNOWN if error.code() in _NO_TOPIC else error.code()
        self._outdated = self._outdated or code == TOPIC_UNKNOWN
        return outcome(code, error.name(), self._options)

    def _complain(self, error: KafkaError) -> None:
        """
        Remember what librdkafka says about connections: why none could be made is told here only.
        """
        if self._complaint is None or self._complaint.code() not in _TELLING:
            self._complaint = error

    def _is_hopeless(self) -> bool:
        return self._complaint is not None and self._complaint.code() in _HOPELESS


class _Reports:
    """
    The delivery reports of one batch, as they come.
    """

    __slots__ = ("errors", "missing")

    def __init__(self, count: int) -> None:
        self.missing = count
        self.errors: list[KafkaError | None] = [None] * count

    def note(self, place: int, error: KafkaError | None, _: object) -> None:
        self.missing -= 1
        if error is not None:
            self.errors[place] = error


def _handed_over(producer: Producer, message: Message, note: Callable[[KafkaError | None, object], None]) -> bool:
    """
    Give librdkafka a message; False when its queue is full.
    """
    topic, value, key, headers = message
    try:
        producer.produce(topic, value, key, headers=headers, on_delivery=note)
    except BufferError:
        return False
    except KafkaException as error:
        note(error.args[0], None)
    return True


def _unreachable(producer: Producer) -> KafkaError | None:
    """
    Ask any broker for something; gives what came instead of an answer, after complaints were heard.
    """
    try:
        producer.list_topics(timeout=_LOOK_AROUND)
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        producer.poll(_GRACE)
        return reason
    return None


def _failure(error: KafkaError, options: KafkaOptions) -> NotDelivered:
    code, name = error.code(), error.name()
    if code in _REFUSED:
        return Unauthorized(words(LOGIN_REFUSED, name, options))
    if code == _TLS:
        what = "the certificate of a broker is not accepted" if "certificate verify failed" in error.str() else "no TLS"
        return NotDelivered(f"{what} ({name})")
    return NotDelivered(f"no broker could be reached ({name})")


async def _collect(producer: Producer, reports: _Reports) -> None:
    begun = time.monotonic()
    producer.flush(0)  # ends the wait for more
    while reports.missing:
        await asyncio.sleep(min(_LONGEST_LOOK, max(_FIRST_LOOK, (time.monotonic() - begun) / 8)))
        producer.poll(0)


def _settings(options: KafkaOptions) -> dict[str, Any]:
    return {
        "bootstrap.servers": ",".join(options.brokers),
        "client.id": options.client_id,
        "log_level": 0,
        "acks": _ACKS[options.required_acks],
        "enable.idempotence": options.required_acks == "all",
        "compression.type": options.compression,
        "partitioner": "murmur2_random",
        "max.in.flight": 5 if options.required_acks == "all" else 1,  # more would mix up the order when one fails
        "linger.ms": 1,
        "batch.size": BATCH_BYTES,
        "batch.num.messages": 100_000,
        "message.max.bytes": MOST_BYTES,
        "queue.buffering.max.kbytes": 2_097_151,
        # The courier ends what takes too long; to give up earlier would leave gaps in the numbering.
        "message.timeout.ms": 0,
        "topic.metadata.propagation.max.ms": int(_TOPIC_SECONDS * 1000),
        "request.timeout.ms": options.timeout_ms,
        "socket.connection.setup.timeout.ms": max(1000, options.timeout_ms),  # it takes no less
        "security.protocol": options.protocol,
        **_tls(options),
        **_sasl(options),
    }


def _tls(options: KafkaOptions) -> dict[str, str]:
    told = {
        "ssl.ca.location": options.tls_ca_file,
        "ssl.certificate.location": options.tls_cert_file,
        "ssl.key.location": options.tls_key_file or options.tls_cert_file,
        "ssl.key.password": options.tls_key_password.reveal(),
    }
    return {name: str(value) for name, value in told.items() if value and options.tls_enabled}


def _sasl(options: KafkaOptions) -> dict[str, Any]:
    if options.sasl_mechanism is None:
        return {}
    told: dict[str, Any] = {"sasl.mechanism": options.sasl_mechanism.upper()}
    if options.sasl_token_url:
        return told | _token_server(options)
    if options.sasl_token:
        return told | {"oauth_cb": lambda _: tuple(kafka_oauth.token(options))}
    return told | {"sasl.username": options.sasl_username, "sasl.password": options.sasl_password.reveal()}


def _token_server(options: KafkaOptions) -> dict[str, str]:
    """
    Let librdkafka fetch tokens in its own thread.
    """
    told = {
        "method": "oidc",
        "token.endpoint.url": options.sasl_token_url.reveal(),
        "client.id": options.sasl_client_id,
        "client.secret": options.sasl_client_secret.reveal(),
        "scope": options.sasl_scope,
    }
    return {f"sasl.oauthbearer.{name}": value for name, value in told.items() if value}


_SILENT: Final = logging.Logger("silent", level=logging.CRITICAL + 1)  # noqa: LOG001 - it is nobody else's
"""librdkafka's log goes nowhere: what matters of it is reported by the courier."""
