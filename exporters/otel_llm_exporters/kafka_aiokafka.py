"""
The sink `kafka` on aiokafka.

Record batches are built here, one after another for a partition, so that one receipt stands for a whole batch. After a
failure the producer is replaced: brokers take nothing from one whose numbering has a gap.
"""

import asyncio
import logging
import os
import random
import ssl
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    ProducerClosed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataRequest

from otel_llm.delivery.sink import DELIVERED, Outcome, Rejected, Retry
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters import kafka_oauth
from otel_llm_exporters.kafka import BATCH_BYTES, TOPIC_UNKNOWN, UNAUTHORIZED, KafkaOptions, Message, outcome, words

_TOPIC_SECONDS: Final = 5.0
"""How long a topic may take to appear after it was first asked for."""
_OUT_OF_ORDER: Final = 45
_FOLLOWER: Final = Retry(reason="a batch before it failed (OUT_OF_ORDER_SEQUENCE_NUMBER)")
_ACKS: Final = {"none": 0, "leader": 1, "all": "all"}


class AiokafkaClient:
    """
    A producer that is made anew whenever it cannot go on.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._tls = _tls(options) if options.tls_enabled else None
        self._producer: _Producer | None = None
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        async with self._changing:
            await self._drop()
            _ours.set(True)
            producer = _Producer(self._settings())
            try:
                async with asyncio.timeout(self._options.timeout_ms / 1000):
                    await producer.start()
            except BaseException as error:
                await producer.abandon()
                if isinstance(error, KafkaError | TimeoutError):
                    raise await self._diagnosis(error) from error
                raise
            self._producer = producer

    async def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        producer = self._producer
        if producer is None:
            await self.open()
            producer = self._producer
        if producer is None:
            raise NotDelivered("the producer is closed")
        try:
            outcomes = await self._sent(producer, messages)
        except KafkaError as error:
            raise _failure(error, self._options) from error
        return await self._with_followers(messages, outcomes)

    async def close(self) -> None:
        async with self._changing:
            await self._drop()

    async def _sent(self, producer: "_Producer", messages: Sequence[Message]) -> list[Outcome]:
        outcomes: list[Outcome] = [DELIVERED] * len(messages)
        receipts: dict[asyncio.Future[Any], list[int]] = {}
        for topic, places in _by_topic(messages).items():
            try:
                partitions = await _partitions(producer, topic)
            except (UnknownTopicOrPartitionError, TopicAuthorizationFailedError) as error:
                self._note(outcomes, places, error)
                continue
            for partition, some in partitions.share(messages, places).items():
                for batch, members in _batches(producer, messages, some):
                    receipt = await producer.send_batch(batch, topic, partition=partition)
                    receipt.add_done_callback(_retrieved)
                    receipts[receipt] = members
        if receipts:
            await asyncio.wait(receipts)
        await self._judge(producer, receipts, outcomes)
        return outcomes

    async def _with_followers(self, messages: Sequence[Message], outcomes: list[Outcome]) -> Sequence[Outcome]:
        """
        Send once more what brokers did not take only because it was numbered after something that they refused.
        """
        places = [place for place, each in enumerate(outcomes) if each is _FOLLOWER]
        if places and any(isinstance(each, Rejected) for each in outcomes):
            again = await self.send([messages[place] for place in places])
            for place, each in zip(places, again, strict=True):
                outcomes[place] = each
        return outcomes

    async def _judge(
        self, producer: "_Producer", receipts: dict[asyncio.Future[Any], list[int]], outcomes: list[Outcome]
    ) -> None:
        errors = [(receipt.exception(), places) for receipt, places in receipts.items()]
        failed = [(error, places) for error, places in errors if error is not None]
        for error, places in failed:
            self._note(outcomes, places, error)
        if failed and self._producer is producer:
            async with self._changing:
                await self._drop()
        if failed and len(failed) == len(errors) and all(isinstance(each, Retry) for each in outcomes):
            raise _failure(failed[0][0], self._options) from failed[0][0]

    def _note(self, outcomes: list[Outcome], places: list[int], error: BaseException) -> None:
        code, name = _code(error)
        meaning = _FOLLOWER if code == _OUT_OF_ORDER else outcome(code, name, self._options)
        for place in places:
            outcomes[place] = meaning

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.abandon()

    def _settings(self) -> dict[str, Any]:
        options = self._options
        return self._security() | {
            "bootstrap_servers": list(options.brokers),
            "client_id": options.client_id,
            "acks": _ACKS[options.required_acks],
            "enable_idempotence": options.required_acks == "all",
            "compression_type": None if options.compression == "none" else options.compression,
            "max_batch_size": BATCH_BYTES,
            "request_timeout_ms": options.timeout_ms,
        }

    def _security(self) -> dict[str, Any]:
        options = self._options
        told: dict[str, Any] = {"security_protocol": options.protocol, "ssl_context": self._tls}
        if options.sasl_mechanism == "oauthbearer":
            return told | {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _Tokens(options)}
        if options.sasl_mechanism:
            told |= {
                "sasl_plain_username": options.sasl_username,
                "sasl_plain_password": options.sasl_password.reveal(),
            }
            told["sasl_mechanism"] = options.sasl_mechanism.upper()
        return told

    async def _diagnosis(self, error: KafkaError | TimeoutError) -> NotDelivered:
        """
        Find out why no producer could be had: aiokafka only logs it.
        """
        if not isinstance(error, KafkaConnectionError | TimeoutError):
            return _failure(error, self._options)
        broker = self._options.brokers[0]
        try:
            connection = await self._connection(broker)
        except (KafkaError, OSError) as found:
            return _unreachable(found, broker, self._options)
        try:
            answer = await connection.send(MetadataRequest([]))
        except KafkaError:
            return self._cut_off()
        finally:
            await connection.close()
        return NotDelivered("the brokers do not answer in time") if answer.brokers else self._cut_off()

    async def _connection(self, broker: str) -> Any:
        host, _, port = broker.rpartition(":")
        arguments = self._security() | {"request_timeout_ms": self._options.timeout_ms}
        return await create_conn(host.strip("[]"), int(port), **arguments)

    def _cut_off(self) -> NotDelivered:
        """
        Say why a broker ends a connection after the login: aiokafka takes the refusal of a token for a welcome.
        """
        if self._options.sasl_mechanism == "oauthbearer":
            return Unauthorized("the brokers refuse our token")
        return NotDelivered("no broker answers")


class _Producer(AIOKafkaProducer):  # type: ignore[misc]
    """
    A producer that can be stopped at once: `stop` would wait, for ever if need be, until everything is delivered.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(**settings)
        self._requests: set[asyncio.Task[None]] = set()
        self._request = self._sender._send_produce_req  # noqa: SLF001 - aiokafka has no way for that
        self._sender._send_produce_req = self._noted_request  # noqa: SLF001 - same

    async def abandon(self) -> None:
        """
        Let go of connections and of all that has no receipt yet.
        """
        self._closed = True
        await self._end_requests()
        waiting = self._message_accumulator
        waiting._pending_batches.update(*waiting._batches.values())  # noqa: SLF001 - each is taken out again
        waiting.fail_all(ProducerClosed())
        await self.client.close()

    async def _end_requests(self) -> None:
        sender = self._sender.sender_task
        while sender is not None and not sender.done():
            for task in (sender, *self._requests):
                task.cancel()
            await asyncio.wait((sender, *self._requests), timeout=0.05)

    async def _noted_request(self, *arguments: object) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        await self._request(*arguments)


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """
    What aiokafka asks for a token at every login.
    """

    def __init__(self, options: KafkaOptions) -> None:
        super().__init__()
        self._options = options

    async def token(self) -> str:
        return (await asyncio.to_thread(kafka_oauth.token, self._options)).text


class _Partitions:
    """
    A topic's partitions, and those of them that can be written to now.
    """

    def __init__(self, known: set[int], available: set[int]) -> None:
        self._known = sorted(known)
        self._writable = sorted(available) or self._known

    def share(self, messages: Sequence[Message], places: list[int]) -> dict[int, list[int]]:
        """
        Say which messages go to which partition: those without a key together to any.
        """
        known, count = self._known, len(self._known)
        if count == 1:
            return {known[0]: places}
        anywhere = random.choice(self._writable)  # noqa: S311 - spreads load
        shared: defaultdict[int, list[int]] = defaultdict(list)
        for place in places:
            key = messages[place].key
            shared[anywhere if key is None else known[(murmur2(key) & 0x7FFFFFFF) % count]].append(place)
        return shared


async def _partitions(producer: "_Producer", topic: str) -> _Partitions:
    cluster = producer.client.cluster
    if cluster.partitions_for_topic(topic) is None:
        await _learn(producer, topic)
    return _Partitions(cluster.partitions_for_topic(topic), cluster.available_partitions_for_topic(topic))


async def _learn(producer: "_Producer", topic: str) -> None:
    """
    Ask for a topic until it is there; raises when it does not appear although a broker answers.
    """
    client = producer.client
    client.add_topic(topic)
    deadline = time.monotonic() + _TOPIC_SECONDS
    while client.cluster.partitions_for_topic(topic) is None:
        answered = await client.force_metadata_update()
        if topic in client.cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError(topic)
        if time.monotonic() > deadline:
            raise UnknownTopicOrPartitionError if answered else NotDelivered("no broker answers")
        await asyncio.sleep(0.1)


def _by_topic(messages: Sequence[Message]) -> dict[str, list[int]]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, message in enumerate(messages):
        places[message.topic].append(place)
    return places


def _batches(producer: "_Producer", messages: Sequence[Message], places: list[int]) -> Iterator[tuple[Any, list[int]]]:
    """
    Give record batches, each with the places of its members.
    """
    batch, members = producer.create_batch(), list[int]()
    for place in places:
        if not _added(batch, messages[place]):
            yield batch, members
            batch, members = producer.create_batch(), []
            _added(batch, messages[place])
        members.append(place)
    batch.close()
    yield batch, members


def _added(batch: Any, message: Message) -> bool:
    """
    Add a message unless the batch is full; an empty one takes any.
    """
    _, value, key, headers = message
    return batch.append(timestamp=None, key=key, value=value, headers=headers) is not None


def murmur2(key: bytes) -> int:
    """
    Hash a key as Java's client does, in a third of the time that aiokafka takes for it.
    """
    whole = len(key) & ~3
    h = _SEED ^ len(key)
    for (k,) in struct.iter_unpack("<I", key[:whole]):
        k = k * _FACTOR & _32_BITS  # noqa: PLW2901 - so the algorithm is written
        h = (h * _FACTOR ^ (k ^ k >> 24) * _FACTOR) & _32_BITS
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _32_BITS
    h = (h ^ h >> 13) * _FACTOR & _32_BITS
    return h ^ h >> 15


_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_32_BITS: Final = 0xFFFFFFFF


def _code(error: BaseException) -> tuple[int, str]:
    """
    Give the protocol's code of an error and its name.
    """
    name = getattr(error, "message", "") or type(error).__name__
    code = getattr(error, "errno", None)
    return (code if isinstance(code, int) else TOPIC_UNKNOWN if "UnknownTopic" in name else -1), name


def _failure(error: BaseException, options: KafkaOptions) -> NotDelivered:
    code, name = _code(error)
    return (Unauthorized if code in UNAUTHORIZED else NotDelivered)(words(code, name, options))


def _unreachable(error: BaseException, broker: str, options: KafkaOptions) -> NotDelivered:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotDelivered(f"the certificate of {broker} is not accepted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return NotDelivered(f"no TLS with {broker}: {error.reason}")
    if isinstance(error, KafkaError) and not isinstance(error, KafkaConnectionError):
        return _failure(error, options)
    code = getattr(error, "errno", None)
    return NotDelivered(f"{broker} cannot be reached: {os.strerror(code) if code else type(error).__name__}")


def _retrieved(receipt: "asyncio.Future[Any]") -> None:
    """
    Look at a receipt that nobody may wait for any more, so that asyncio does not complain.
    """
    if not receipt.cancelled():
        receipt.exception()


def _tls(options: KafkaOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.tls_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.tls_cert_file:
        context.load_cert_chain(options.tls_cert_file, options.tls_key_file, options.tls_key_password.reveal() or None)
    return context


_ours: ContextVar[bool] = ContextVar("ours", default=False)
"""Set in the tasks that our producers run in."""


def _is_others(_: logging.LogRecord) -> bool:
    """
    Keep aiokafka from logging about our producers, which it does ten times a second while brokers are away.
    """
    return not _ours.get()


for _name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "aiokafka"]:
    logging.getLogger(_name).addFilter(_is_others)
