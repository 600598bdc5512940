"""
What the seed formats ask of an event, read once.

`analytics`, `gateway_log` and `usage` tell the same facts under other names. They also meet records that other
instrumentations made, where any attribute may be missing or of an odd type: such a fact is None, never 0.
"""

import math
import sys
from typing import Annotated, Any, TypeVar

import msgspec

from otel_llm.telemetry.event import Event

PROVIDERS = {
    "aws.bedrock": "bedrock",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gen_ai": "gemini",
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshot",
    "x_ai": "xai",
}
"""Short names for the `gen_ai.provider.name` values that have one; every other value is its own short name."""

# What the fields of a struct for `Facts.told` may hold.
Text = Annotated[str, msgspec.Meta(min_length=1)] | None
Whole = int | None
Number = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)] | None

T = TypeVar("T", bound=msgspec.Struct)

_NS = 1_000_000_000
_LONGEST = 10.0**9
_RATE_LIMITED = 429
_FIRST_ERROR_STATUS = 400


def milliseconds(seconds: float | None) -> int | None:
    """
    Give a duration in whole milliseconds, a half rounded up.
    """
    return None if seconds is None else (round(seconds * _NS) + 500_000) // 1_000_000


class Facts:
    """
    One event, seen as a provider call.
    """

    __slots__ = ("attributes", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.attributes = event.attributes

    def text(self, *names: str) -> str | None:
        """
        Give the first of these attributes that is a string with something in it.
        """
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, str) and value:
                return value
        return None

    def whole(self, *names: str) -> int | None:
        """
        Give the first of these attributes that is a whole number.
        """
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    def number(self, *names: str) -> float | None:
        """
        Give the first of these attributes that is a finite number.
        """
        for name in names:
            value = self.attributes.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        return None

    def seconds(self, *names: str) -> float | None:
        """
        Give the first of these attributes as a duration; None when it is none that a call can have.
        """
        told = self.number(*names)
        return told if told is not None and 0 <= told <= _LONGEST else None

    def told(self, kind: type[T]) -> T:
        """
        Give the attributes that the fields of this struct name, all at once, each as `text`, `whole` or `number` does.
        """
        try:
            return msgspec.convert(self.attributes, kind)
        except (msgspec.ValidationError, OverflowError):
            fields = msgspec.structs.fields(kind)
            return kind(**{field.name: _READ[field.type](self, field.encode_name) for field in fields})

    def is_true(self, name: str) -> bool:
        """
        Tell whether the attribute is there and true.
        """
        return self.attributes.get(name) is True

    def resource(self, *names: str) -> str:
        """
        Give the first of these resource attributes that is there, else the empty string.
        """
        attributes = self.event.resource.attributes
        return next((str(attributes[name]) for name in names if attributes.get(name)), "")

    @property
    def provider(self) -> str | None:
        """The provider's short name."""
        name = self.text("gen_ai.provider.name", "gen_ai.system")
        return PROVIDERS.get(name, name) if name else None

    @property
    def operation(self) -> str | None:
        """`chat`, `embeddings`, `text_completion` or another word of the conventions."""
        return self.text("gen_ai.operation.name")

    @property
    def status(self) -> str:
        """`success`, `error`, `rate_limited`, `cancelled` or `timeout`."""
        told = self.text("otel_llm.status")
        if told:
            return told
        if self.http_status == _RATE_LIMITED:
            return "rate_limited"
        return "error" if self.error_type else "success"

    @property
    def succeeded(self) -> bool:
        """Whether the caller got the whole answer."""
        return self.status == "success"

    @property
    def type(self) -> str:
        """`rate_limit`, `error`, `cache_hit` or `api_call`, the first that holds."""
        told = self.text("otel_llm.event.type")
        if told:
            return told
        if self.status == "rate_limited":
            return "rate_limit"
        if self.error_type:
            return "error"
        return "cache_hit" if self.is_true("otel_llm.cache.hit") else "api_call"

    @property
    def streaming(self) -> bool:
        """Whether the answer was asked for as a stream."""
        return self.is_true("gen_ai.request.stream")

    @property
    def http_status(self) -> int | None:
        """What the provider answered."""
        return self.whole("otel_llm.provider.http.status_code", "http.response.status_code")

    @property
    def provider_failed(self) -> bool:
        """Whether the last thing the provider answered was an error."""
        status = self.http_status
        return status is not None and status >= _FIRST_ERROR_STATUS

    @property
    def error_type(self) -> str | None:
        """The provider's error code, else the exception's class, else the HTTP status."""
        return self.text("error.type")

    @property
    def error_message(self) -> str | None:
        """What the provider or the exception said, as redacted when the record was made."""
        return self.text("otel_llm.error.message", "exception.message")

    @property
    def retries(self) -> int:
        """Attempts after the first."""
        return max((self.whole("otel_llm.attempts") or 1) - 1, 0)

    @property
    def duration(self) -> float | None:
        """Seconds from the start of the call to its end."""
        return self.seconds("otel_llm.duration")

    @property
    def first_chunk(self) -> float | None:
        """Seconds to the first stream chunk that carried content; None when the answer was no stream."""
        return self.seconds("gen_ai.response.time_to_first_chunk") if self.streaming else None

    @property
    def ended_ns(self) -> int:
        """When the call was completed; when it was seen, where its maker left the time out."""
        return self.event.timestamp_ns or self.event.observed_ns

    @property
    def started_ns(self) -> int:
        """When the call began; reckoned back from its end where nobody told."""
        told = self.whole("otel_llm.start_time_unix_nano")
        return max(self.ended_ns - round((self.duration or 0) * _NS) if told is None else told, 0)

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens over the time from the first chunk to the end; streams only."""
        told = self.number("otel_llm.tokens_per_second")
        if told is not None or self.first_chunk is None:
            return told
        output, seconds = self.output_tokens, (self.duration or 0) - self.first_chunk
        return output / seconds if output is not None and seconds > 0 else None

    @property
    def input_tokens(self) -> int | None:
        """All input, cached tokens included."""
        return self.whole("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")

    @property
    def output_tokens(self) -> int | None:
        """All output, reasoning included."""
        return self.whole("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")

    @property
    def total_tokens(self) -> int | None:
        """Input plus output; None when nobody told either."""
        parts = [part for part in (self.input_tokens, self.output_tokens) if part is not None]
        return sum(parts) if parts else None

    @property
    def cache_read_tokens(self) -> int | None:
        """Input read from the provider's prompt cache."""
        return self.whole("gen_ai.usage.cache_read.input_tokens")

    @property
    def cache_write_tokens(self) -> int | None:
        """Input written to the provider's prompt cache, under its present or its old name."""
        return self.whole("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens")

    @property
    def reasoning_tokens(self) -> int | None:
        """The part of the output that was reasoning."""
        return self.whole("gen_ai.usage.reasoning.output_tokens")

    @property
    def cost(self) -> float | None:
        """US dollars; None when the price is unknown."""
        return self.number("gen_ai.usage.cost", "operation.cost")

    @property
    def content(self) -> bool:
        """Whether prompt or answer were captured."""
        return any(name in self.attributes for name in _CONTENT)

    def given(self, **names: str) -> dict[str, Any]:
        """
        Give the attributes that are there, under other names.
        """
        return {new: self.attributes[name] for new, name in names.items() if name in self.attributes}


_READ: dict[Any, Any] = {Text: Facts.text, Whole: Facts.whole, Number: Facts.number}
_CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions")
