"""
Kafka: one message per record, records of one trace in one partition and in order.

The value is the record in the sink's format, the key says which records stay together, the headers are `event_id`,
`event_type`, `content-type` and `traceparent`. Both clients put a key into the partition that Java's puts it into.

What becomes of a batch when Kafka answers:

| answer | the records |
| --- | --- |
| too large, or an invalid record | are halved until the record at fault is alone, which goes to the dead letters |
| credentials refused, topic or cluster not allowed | wait, and are tried again at long intervals |
| unknown topic | wait until there is one |
| all others, or none | are sent again |

With `required_acks: all` a record is safe when its receipt is there, and the brokers drop what a client repeats. After
a restart of the process, or when brokers did not answer for `send_timeout_ms`, a record may still come twice: its
event id is the same.

Two clients serve: aiokafka (`kafka`), and confluent-kafka (`kafka-confluent`), which does its part in threads of its
own, outside of Python. Over the whole path, from the call to the broker, a record costs about the same with either.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Protocol

from otel_llm import diagnostics
from otel_llm.delivery.http_address import Url, check_scheme
from otel_llm.delivery.sink import DELIVERED, Batch, Outcome, Receipt, Record, Rejected, Retry
from otel_llm.delivery.template import field, fill, is_template, read_field, read_template
from otel_llm.errors import MissingExtra
from otel_llm.settings.conversion import Count, Unfit, convert, read_text
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import Event

MOST_BYTES: Final = 100 * 1024**2 - 64 * 1024
"""What a broker reads of one request at most (`socket.request.max.bytes`), less what stands around a record."""
BATCH_BYTES: Final = 960 * 1024
"""What is sent to a partition in one piece, so that only a record that is too large by itself is refused for it."""

_PORT: Final = 9092
_LONGEST_TOPIC: Final = 249


def read_brokers(raw: object) -> tuple[str, ...]:
    """
    Read addresses such as `k1:9092`; the port may be missing.
    """
    brokers: tuple[str, ...] = convert(raw, tuple[str, ...])
    if not brokers or not all(map(_BROKER.fullmatch, brokers)):
        raise Unfit("addresses such as k1:9092, k2:9092")
    return tuple(broker if _HAS_PORT.search(broker) else f"{broker}:{_PORT}" for broker in brokers)


_BROKER: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_HAS_PORT: Final = re.compile(r":\d+$")


def read_topic(raw: object) -> str:
    """
    Read a topic's name that may have fields in braces.
    """
    template = read_template(raw)
    fixed = re.sub(r"\{[^{}]*\}", "", template)
    if not template or _NOT_IN_TOPICS.search(fixed) or len(fixed) > _LONGEST_TOPIC:
        raise Unfit("a topic of letters, digits, dots, dashes and underscores, and fields such as {event_type}")
    return template


_NOT_IN_TOPICS: Final = re.compile(r"[^a-zA-Z0-9._-]")


def read_acks(raw: object) -> str:
    """
    Read who has to have a record before it counts as delivered, also as Kafka writes it: 0, 1, -1.
    """
    spelling = {"0": "none", "1": "leader", "-1": "all"}.get(str(raw).strip(), raw)
    acks: str = convert(spelling, Literal["none", "leader", "all"])
    return acks


def read_key(raw: object) -> str:
    """
    Read the name of a field, or nothing.
    """
    return read_field(raw) if read_text(raw).strip() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """
    Options of the sink `kafka`.

    ```yaml
    sinks:
      kafka: {brokers: [k1:9092, k2:9092], topic: llm-calls, batch_size: 500, compression: lz4}
    ```

    ```yaml
    sinks:
      kafka:
        brokers: [broker.example.com:9093]
        topic: llm-{event_type}
        key: label.tenant_id
        tls_enabled: true
        sasl_mechanism: scram-sha-512
        sasl_username: otel-llm
        sasl_password_file: /run/secrets/kafka
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: "https://k1", topic: llm-calls}
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: [k1:9092], topic: llm calls}
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: [k1:9092], topic: llm-calls, compression: brotli}
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: [k1:9092], topic: llm-calls, required_acks: quorum}
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: [k1:9092], topic: llm-calls, key: traceid}
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: [k1:9092], topic: llm-calls, sasl_mechanism: plain}
    ```

    ```yaml wrong
    sinks:
      kafka: {brokers: [k1:9092], topic: llm-calls, tls_ca_file: /etc/ssl/kafka.pem}
    ```
    """

    brokers: Annotated[tuple[str, ...], read_brokers]
    """Addresses of some brokers, from which the others are learned; the port is 9092 where none is given."""
    topic: Annotated[str, read_topic]
    """The topic; it may have fields, such as `llm-{event_type}`, `{provider}` or `{label.team}`. A field that an event
    lacks becomes `unknown`, a character that no topic may have becomes `_`. Topics are not created, unless the brokers
    do that."""
    key: Annotated[str, read_key] = "trace_id"
    """The field whose value is the message key: records with one key go to one partition, in order. Empty, or where an
    event lacks the field: no key, and any partition."""
    headers: bool = True
    """Whether messages carry headers."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """How messages are compressed."""
    required_acks: Annotated[str, read_acks] = "all"
    """Who has a record before it counts as delivered: `none` (it is on the wire; what gets lost then, nobody knows),
    `leader` (lost when that broker fails), `all` (the replicas in sync, and no repetitions); also 0, 1 and -1."""
    async_: bool = False
    """Whether the next batches go on their way while one waits for its receipt; none counts as delivered before its
    own receipt. With `required_acks: all` partitions keep their order nevertheless, unless a batch fails."""
    tls_enabled: bool = False
    """Whether connections are encrypted: TLS 1.2 or newer, with the broker's certificate and host checked."""
    tls_ca_file: Path | None = None
    """The authorities to trust instead of the system's, in PEM."""
    tls_cert_file: Path | None = None
    """Our own certificate, in PEM, where brokers ask for one."""
    tls_key_file: Path | None = None
    """The private key of `tls_cert_file`; may be in the same file."""
    tls_key_password: Secret = Secret("")  # noqa: RUF009 - a Secret never changes
    """What `tls_key_file` is encrypted with."""
    sasl_mechanism: Literal["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"] | None = None
    """How to log in. `plain` without TLS sends the password as it is."""
    sasl_username: str = ""
    """The name for `plain` and `scram-…`."""
    sasl_password: Secret = Secret("")  # noqa: RUF009 - same
    """The password for `plain` and `scram-…`."""
    sasl_token: Secret = Secret("")  # noqa: RUF009 - same
    """The token for `oauthbearer`, where it is always the same."""
    sasl_token_url: Url = Secret("")  # noqa: RUF009 - same
    """Where tokens for `oauthbearer` are fetched as they expire (OAuth 2 client credentials)."""
    sasl_client_id: str = ""
    """Who we are at `sasl_token_url`."""
    sasl_client_secret: Secret = Secret("")  # noqa: RUF009 - same
    """The secret of `sasl_client_id`."""
    sasl_scope: str = ""
    """What the token is asked for, if `sasl_token_url` wants to know."""
    client_id: str = "otel-llm"
    """Our name in the brokers' logs and quotas."""
    timeout_ms: Count = 30_000
    """How long to wait for a connection, and for each answer, in milliseconds."""
    client: Literal["auto", "aiokafka", "confluent"] = "auto"
    """The client library; `auto` takes aiokafka where it is installed, else confluent-kafka."""

    def __post_init__(self) -> None:
        for problem in _contradictions(self):
            raise ValueError(problem)

    @property
    def protocol(self) -> str:
        """Kafka's name for how connections are secured."""
        return ("SASL_" if self.sasl_mechanism else "") + ("SSL" if self.tls_enabled else "PLAINTEXT")


def _contradictions(options: KafkaOptions) -> list[str]:
    tls_files = [file for file in (options.tls_ca_file, options.tls_cert_file, options.tls_key_file) if file]
    bearer = options.sasl_mechanism == "oauthbearer"
    login = options.sasl_mechanism is not None and not bearer
    checks: dict[str, object] = {
        "tls_enabled: true beside the TLS files": tls_files and not options.tls_enabled,
        "readable TLS files": not all(file.is_file() for file in tls_files),
        "tls_cert_file beside tls_key_file": options.tls_key_file and not options.tls_cert_file,
        f"sasl_username and sasl_password for {options.sasl_mechanism}": login
        and not (options.sasl_username and options.sasl_password),
        "sasl_mechanism beside sasl_username": options.sasl_username and not login,
        "either sasl_token or sasl_token_url for oauthbearer": bearer
        and bool(options.sasl_token) == bool(options.sasl_token_url),
        "sasl_client_id and sasl_client_secret beside sasl_token_url": options.sasl_token_url
        and not (options.sasl_client_id and options.sasl_client_secret),
        "https in sasl_token_url (http only to this machine)": options.sasl_token_url
        and _is_in_the_clear(options.sasl_token_url),
    }
    return [expected for expected, broken in checks.items() if broken]


def _is_in_the_clear(url: Secret) -> bool:
    try:
        check_scheme(url, allow_http=False)
    except ValueError:
        return True
    return False


Headers = list[tuple[str, str | bytes | None]]


class Message(NamedTuple):
    """
    A record as Kafka has it.
    """

    topic: str
    value: bytes
    key: bytes | None
    headers: Headers


class KafkaClient(Protocol):
    """
    A client library: it connects, sends, and says of each message what became of it.
    """

    async def open(self) -> None:
        """
        Connect, or raise `NotDelivered`; called again after a failure.
        """

    async def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        """
        Send messages, in order within a partition, and wait for the receipts.
        """

    async def close(self) -> None:
        """
        Let go of connections and of what is still on its way.
        """


class KafkaSink:
    """
    Turns records into messages; what the brokers refuse in a crowd is sent again by halves.
    """

    Options = KafkaOptions

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._client = _CLIENTS[_chosen(options)](options)
        self._has_fields = is_template(options.topic)
        self.batches_in_flight = PIPELINED if options.async_ else 1
        """How many batches may be on their way at once, whatever `async_workers` says."""
        if options.protocol == "SASL_PLAINTEXT" and options.sasl_mechanism == "plain":
            diagnostics.warn_once(
                f"kafka {options.brokers} in the clear",
                "the kafka sink sends its password in the clear: set tls_enabled, or a scram-… sasl_mechanism",
            )

    async def open(self) -> None:
        await self._client.open()

    async def send(self, batch: Batch) -> Receipt:
        messages = [self._message(record) for record in batch.records]
        outcomes = await self._sent(messages)
        return Receipt.delivered() if all(each is DELIVERED for each in outcomes) else Receipt(outcomes)

    async def close(self) -> None:
        await self._client.close()

    async def _sent(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [_TOO_LARGE if len(message.value) > MOST_BYTES else DELIVERED for message in messages]
        await self._send(messages, [place for place, each in enumerate(outcomes) if each is DELIVERED], outcomes)
        return outcomes

    async def _send(self, messages: Sequence[Message], places: list[int], outcomes: list[Outcome]) -> None:
        """
        Send the messages at some places, and note there what became of them.
        """
        if not places:
            return
        answers = await self._client.send([messages[place] for place in places])
        for place, answer in zip(places, answers, strict=True):
            outcomes[place] = answer
        refused = [place for place in places if isinstance(outcomes[place], Rejected)]
        if len(places) == 1:
            return
        middle = (len(refused) + 1) // 2
        await self._send(messages, refused[:middle], outcomes)
        await self._send(messages, refused[middle:], outcomes)

    def _message(self, record: Record) -> Message:
        event = record.event
        key = field(event, self._options.key) if self._options.key else ""
        headers = _headers(record) if self._options.headers else []
        return Message(self._topic(event), record.body, key.encode() or None, headers)

    def _topic(self, event: Event) -> str:
        if not self._has_fields:
            return self._options.topic
        name = _NOT_IN_TOPICS.sub("_", fill(event, self._options.topic, missing="unknown"))[:_LONGEST_TOPIC]
        return name if name.strip(".") else "_"


PIPELINED: Final = 5
"""As many requests as Kafka's own client has on their way."""

_TOO_LARGE: Final = Rejected("larger than any broker takes")


def _headers(record: Record) -> Headers:
    event = record.event
    headers: Headers = [
        ("event_id", event.id.encode()),
        ("event_type", event.type.encode()),
        ("content-type", record.content_type.encode()),
    ]
    if event.trace_id and event.span_id:
        headers.append(("traceparent", f"00-{event.trace_id}-{event.span_id}-{event.trace_flags:02x}".encode()))
    return headers


TOPIC_UNKNOWN: Final = 3
LOGIN_REFUSED: Final = 58
UNAUTHORIZED: Final = frozenset({29, 31, 53, LOGIN_REFUSED})
"""The protocol's codes for what we may not do: write to the topic, write idempotently, log in."""

_NEVER: Final = {10: "larger than the topic takes", 87: "the brokers do not take such a record"}
_WORDS: Final = {
    TOPIC_UNKNOWN: "the topic {topic} does not exist",
    29: "we may not write to the topic {topic}",
    31: "we may not write idempotently to the cluster",
    LOGIN_REFUSED: "the brokers refuse our credentials",
    76: "the brokers do not know the compression",
}


def outcome(code: int, name: str, options: KafkaOptions) -> Outcome:
    """
    Say what an error of the protocol means for the records it is about.
    """
    if code in _NEVER:
        return Rejected(f"{_NEVER[code]} ({name})")
    return Retry(reason=words(code, name, options))


def words(code: int, name: str, options: KafkaOptions) -> str:
    """
    Say what an error of the protocol means, with its name; a topic as the options have it, without a record's fields.
    """
    told = _WORDS.get(code)
    return f"{told.replace('{topic}', options.topic)} ({name})" if told else f"Kafka answers {name}"


def _chosen(options: KafkaOptions) -> str:
    if options.client != "auto":
        return options.client
    return "aiokafka" if find_spec("aiokafka") else "confluent"


def _aiokafka(options: KafkaOptions) -> KafkaClient:
    try:
        from otel_llm_exporters.kafka_aiokafka import AiokafkaClient
    except ImportError as error:
        raise MissingExtra("the kafka sink needs its client: pip install 'otel-llm[kafka]'") from error
    return AiokafkaClient(options)


def _confluent(options: KafkaOptions) -> KafkaClient:
    try:
        from otel_llm_exporters.kafka_confluent import ConfluentClient
    except ImportError as error:
        raise MissingExtra("the kafka sink needs its client: pip install 'otel-llm[kafka-confluent]'") from error
    return ConfluentClient(options)


_CLIENTS: Final[Mapping[str, Callable[[KafkaOptions], KafkaClient]]] = {
    "aiokafka": _aiokafka,
    "confluent": _confluent,
}

if not find_spec("aiokafka") and not find_spec("confluent_kafka"):
    raise ModuleNotFoundError("No module named 'aiokafka'", name="aiokafka")
