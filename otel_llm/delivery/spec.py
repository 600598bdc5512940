"""What delivery is told: which sinks, with which options, and how the journal is kept."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from otel_llm.delivery.clock import Clock
from otel_llm.delivery.sink import BlockingSink, Sink
from otel_llm.telemetry.event import Event

Durability = Literal["memory", "process", "power", "always"]
WhenFull = Literal["block", "drop_new", "drop_old"]
Encoder = Callable[[Event], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpec:
    """
    One sink as the operator named it, and what its courier needs to know.
    """

    name: str
    make: Callable[[], Sink | BlockingSink]
    """Builds the sink when its courier opens it for the first time; may raise any of our errors."""
    encoder: Encoder
    content_type: str = "application/json"
    join: Callable[[Iterable[bytes]], bytes] | None = None
    """Makes one document of several bodies, where the format can hold several events."""
    identity: str = ""
    """Where the records go, in words that change when the destination does; it is hashed, never written."""
    where: Mapping[str, object] = field(default_factory=dict)
    """Only events that fit all of these are sent (see `otel_llm.delivery.route`)."""
    content: Literal["none", "full"] = "full"
    """`none` takes prompts and answers out of this sink's copy."""
    sample: float = 1.0
    """The share of events that are sent, chosen by event id, so that several sinks choose the same."""
    redact: Sequence[str] = ()
    """Names of attributes (globs) whose values are replaced in this sink's copy."""
    max_rate: float | None = None
    """Events per second; what goes beyond is dropped and counted."""
    max_age: float | None = None
    """Seconds after which an undelivered event becomes a dead letter; None: as long as the journal keeps it."""
    max_attempts: int | None = None
    """Sends after which an event becomes a dead letter; None: no limit."""
    batch_size: int | None = None
    """Events per batch; None: as the delivery settings say. The same for the next two."""
    flush_interval_ms: int | None = None
    async_workers: int | None = None
    batch_bytes: int = 1024 * 1024
    """A batch is closed before its bodies grow beyond this; a larger record goes alone."""
    send_timeout_ms: int = 120_000
    """The longest that the sink may take to open, or to send one batch, before it is tried anew."""

    @property
    def key(self) -> str:
        """Names the sink's cursor: the same sink with another destination starts anew."""
        return f"{self.name}-{hashlib.sha256(self.identity.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """
    How records are kept until they are delivered.
    """

    journal_dir: Path
    service_name: str = "unknown_service"
    durability: Durability = "process"
    journal_max_bytes: int = 512 * 1024 * 1024
    journal_max_age: float = 7 * 86_400.0
    """Seconds."""
    journal_min_free_bytes: int = 64 * 1024 * 1024
    """What the journal leaves free on its disk; below that, records wait in memory as if the disk was full."""
    buffer_size: int = 10_000
    """Records kept in memory, with durability `memory` or while the disk cannot be written."""
    when_full: WhenFull = "block"
    block_ms: int = 100
    exit_timeout_ms: int = 5000
    freezes: bool = False
    """Whether the process may be frozen after any call: `append` waits for the sinks, up to the exit timeout."""
    batch_size: int = 100
    flush_interval_ms: int = 1000
    async_workers: int = 1
    clock: Clock = field(default_factory=Clock, repr=False)
