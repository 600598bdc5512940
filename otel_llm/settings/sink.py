"""
What is set for one sink: the options that all sinks have, and its own, still as they stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from otel_llm.settings.conversion import Count, Duration, Rate, Share, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkCommon:
    """
    Options that every sink has; its courier obeys them, the sink never sees them.
    """

    format: Literal["otel", "otlp_proto", "otlp_json", "analytics", "gateway_log", "usage"] | None = None
    """`otel`, `otlp_proto`, `otlp_json`, `analytics`, `gateway_log` or `usage`; each sink has its own default."""
    where: Mapping[str, object] = field(default_factory=dict)
    """Which records the sink receives, such as `event_type: [error, rate_limit]`; all by default."""
    content: Literal["none", "full"] = "full"
    """Whether records keep the content that was captured."""
    sample: Share = 1.0
    """Share of the records that the sink receives, from 0 to 1."""
    redact: tuple[str, ...] = ()
    """Attribute names (globs) whose values are replaced for this sink."""
    max_rate: Rate | None = None
    """Most records per second."""
    max_age: Duration | None = None
    """Older records are not sent any more, such as `18h`."""
    max_attempts: Count | None = None
    """Attempts before a record goes to the dead letters; unlimited by default."""
    batch_size: Count = 100
    """Most records in one batch; the process's setting by default."""
    batch_bytes: Size = 1024**2
    """Most bytes in one batch."""
    flush_interval_ms: Count = 1000
    """Longest wait for a batch to fill, in milliseconds; the process's setting by default."""
    async_workers: Count = 1
    """Batches on their way at the same time; the process's setting by default."""
    send_timeout_ms: Count = 120_000
    """Longest time that the sink may take to open or to send a batch before it is tried again, in milliseconds."""


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """
    One sink that is switched on.
    """

    name: str
    type: str
    """The entry point that makes it."""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Its own options, raw: only the sink's file knows their types."""
    common: SinkCommon = field(default_factory=SinkCommon)
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each own option came from, with its variable or key path."""
