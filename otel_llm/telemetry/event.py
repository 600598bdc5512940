"""
The finished log record in delivery form.

An `Event` is made once, from our own log record or from one that another GenAI instrumentation emitted, and never
changes; its `id` is the idempotency key in every sink.
"""

import os
import random
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

EVENT_NAME = "gen_ai.client.inference.operation.details"
"""The name that the GenAI conventions give to the record of one call."""


class Resource(Struct, frozen=True):
    """
    What the process is: OpenTelemetry's resource.
    """

    attributes: dict[str, Any] = {}
    schema_url: str = ""


class Scope(Struct, frozen=True):
    """
    Which instrumentation made the record.
    """

    name: str = "otel_llm"
    version: str = ""


class Event(Struct, frozen=True, array_like=True, gc=False):
    """
    One call as it leaves: times in Unix nanoseconds, ids in lower-case hex (empty when there is no span).
    """

    id: str
    name: str
    timestamp_ns: int
    """When the call was completed."""
    observed_ns: int
    severity_number: int
    severity_text: str
    attributes: dict[str, Any]
    trace_id: str = ""
    span_id: str = ""
    trace_flags: int = 0
    body: Any = None
    resource: Resource = Resource()
    scope: Scope = Scope()

    def get(self, name: str, default: Any = None) -> Any:
        """
        Give one attribute by its full name.
        """
        return self.attributes.get(name, default)

    @property
    def type(self) -> str:
        """`api_call`, `error`, `cache_hit` or `rate_limit`."""
        kind = self.attributes.get("otel_llm.event.type")
        return kind if isinstance(kind, str) else "api_call"

    @property
    def labels(self) -> dict[str, str]:
        """The operator's labels, without their prefix."""
        prefix = "otel_llm.label."
        if "\n".join(self.attributes).rfind(prefix) < 0:  # most events have none, and it is the quickest look
            return {}
        named = {name: value for name, value in self.attributes.items() if name.startswith(prefix)}
        return {name[len(prefix) :]: str(value) for name, value in named.items()}

    def with_attributes(self, attributes: Mapping[str, Any]) -> "Event":
        """
        Give a copy that carries these attributes instead; the id stays.
        """
        return msgspec.structs.replace(self, attributes=dict(attributes))

    def encode(self) -> bytes:
        """
        Give the event as MessagePack, the form in which the journal keeps it.
        """
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Event":
        """
        Read what `encode` wrote; raises `msgspec.DecodeError` when the bytes are something else.
        """
        return _decode(data)


_encode = msgspec.msgpack.Encoder(decimal_format="number").encode
_decode = msgspec.msgpack.Decoder(Event).decode


def new_event_id() -> str:
    """
    Mint a UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits.
    """
    number = (time.time_ns() // 1_000_000) << 80 | _random_bits(80)
    digits = f"{number & _RANDOM | _VERSION_AND_VARIANT:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM = ~(0xF << 76 | 0b11 << 62)

# A generator of our own, seeded by the system: the application may seed the common one, a fork inherits this one.
_generator = random.Random()  # noqa: S311 - ids have to be unique, not secret
_random_bits = _generator.getrandbits
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_generator.seed)
