"""
What one logical provider call was.

A `Call` is made once, when the last byte has been read or the call has failed, and travels unchanged down the road:
`pricing` puts a price on it, `telemetry` turns it into a span, metrics and an `Event`. Durations are integer
nanoseconds, moments are Unix nanoseconds, money is `Decimal` US dollars. Absent is `None`, never 0. Nothing here can be
part of a cycle, so the garbage collector is spared the look (`gc=False`); and a trial encoding, which looks for what
nobody could write, is spared the names (`array_like=True`).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

Status = Literal["success", "error", "rate_limited", "cancelled", "timeout"]
"""How a call ended."""

UsageSource = Literal["provider", "injected", "estimated", "fetched", "absent"]
"""Where the token counts come from; `absent` when nobody told."""


class Usage(Struct, frozen=True, gc=False, array_like=True):
    """
    Token counts as the provider reported them, to the unit.

    `input_tokens` is the total including cached tokens, `output_tokens` the total including reasoning; every other
    count is a part of one of the two (OpenTelemetry GenAI conventions, `gen_ai.usage.*`).
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    """All tokens written to the provider's prompt cache, whatever their time to live."""
    cache_write_1h_tokens: int | None = None
    """The part of `cache_write_tokens` kept for one hour (Anthropic); the rest is kept for five minutes."""
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    audio_cache_read_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    image_cache_read_tokens: int | None = None
    text_input_tokens: int | None = None
    text_output_tokens: int | None = None
    text_cache_read_tokens: int | None = None
    web_searches: int | None = None
    """Searches the provider ran on its own side, billed per search."""

    @property
    def total_tokens(self) -> int | None:
        """Input plus output; None when the provider told neither."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)


class Attempt(Struct, frozen=True, gc=False, array_like=True):
    """
    One HTTP exchange of a call: SDK retries make several.
    """

    started_ns: int
    duration_ns: int
    status: int | None = None
    request_id: str | None = None
    """The provider's own id of the exchange, from its response headers."""
    retry_after: float | None = None
    """Seconds the provider asked to wait."""
    error_type: str | None = None


class Failure(Struct, frozen=True, gc=False, array_like=True):
    """
    Why a call failed.
    """

    type: str
    """Low-cardinality: the provider's error code, else the exception's class, else the HTTP status."""
    message: str | None = None
    """The provider's or the exception's words, redacted before they leave."""
    exception_type: str | None = None
    stacktrace: str | None = None


class RateLimit(Struct, frozen=True, gc=False, array_like=True):
    """
    What the provider's `x-ratelimit-*` headers said last.
    """

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset: str | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset: str | None = None


class Parameters(Struct, frozen=True, gc=False, array_like=True):
    """
    What the request asked for besides its content.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    choice_count: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    reasoning_level: str | None = None
    output_type: str | None = None
    """`text`, `json`, `image` or `speech`."""
    service_tier: str | None = None
    encoding_formats: tuple[str, ...] | None = None
    embedding_dimensions: int | None = None
    previous_response_id: str | None = None
    stream_cursor: str | None = None
    """Where a fetched stream takes up again."""


class Identity(Struct, frozen=True, gc=False, array_like=True):
    """
    For whom the call was made.
    """

    user_id: str | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    project_id: str | None = None
    project_name: str | None = None
    org_id: str | None = None
    experiment_id: str | None = None


class KeyRef(Struct, frozen=True, gc=False, array_like=True):
    """
    Which credential was used; never the credential.
    """

    id: str | None = None
    name: str | None = None
    hash: str | None = None
    """SHA-256 of the key, lower-case hex."""
    virtual_id: str | None = None
    virtual_name: str | None = None


class ResponseCache(Struct, frozen=True, gc=False, array_like=True):
    """
    What a response cache in front of the provider did (not the provider's prompt cache, which is in `Usage`).
    """

    hit: bool | None
    """Whether it answered; None when it does not say."""
    type: str | None = None
    """`direct` or `semantic`."""
    store: str | None = None
    similarity: float | None = None
    threshold: float | None = None
    embedding_provider: str | None = None
    embedding_model: str | None = None
    embedding_input_tokens: int | None = None


class Content(Struct, frozen=True, gc=False, array_like=True):
    """
    Prompt and answer, in the shapes of the GenAI message schemas; kept only when the operator asked for it.
    """

    system_instructions: list[dict[str, object]] | None = None
    input_messages: list[dict[str, object]] | None = None
    output_messages: list[dict[str, object]] | None = None
    tool_definitions: list[dict[str, object]] | None = None


class Call(Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """
    One logical provider call: SDK retries are attempts inside it, a fallback to another model is a new call.
    """

    operation: str
    """`chat`, `embeddings`, `text_completion`, `generate_content` or `fetch_response`."""
    provider: str
    """A `gen_ai.provider.name` value, else the provider's own lower-case name."""
    api: str
    """The name of the dialect that read the wire."""
    started_ns: int
    duration_ns: int
    status: Status
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    response_status: str | None = None
    """Where a stored response stands: `queued`, `in_progress`, `completed`, `incomplete`, `failed`, `cancelled`."""
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None
    method: str = "POST"
    path: str = ""
    request_bytes: int | None = None
    response_bytes: int | None = None
    first_byte_ns: int | None = None
    """From the start of the call to the first byte of the answer."""
    first_chunk_ns: int | None = None
    """From the start of the call to the first stream chunk that carries content."""
    chunk_interval_ns: int | None = None
    """Mean time between two content chunks after the first."""
    usage: Usage = Usage()
    usage_source: UsageSource = "absent"
    reported_cost: Decimal | None = None
    """What the provider itself says the call cost, in USD."""
    parameters: Parameters = Parameters()
    service_tier: str | None = None
    """The tier that answered, which may differ from the one asked for."""
    processing: str | None = None
    """`batch` when billed as a batch job."""
    billable: bool = True
    """Whether tokens and cost are counted with this call; a fetch of a stored answer is not, unless it is the one that
    sees a background answer finished."""
    system_fingerprint: str | None = None
    finish_reasons: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    http_status: int | None = None
    request_id: str | None = None
    failure: Failure | None = None
    rate_limit: RateLimit | None = None
    labels: Mapping[str, str] = {}
    identity: Identity = Identity()
    key: KeyRef = KeyRef()
    cache: ResponseCache | None = None
    parent_request_id: str | None = None
    fallback_index: int | None = None
    route_alias: str | None = None
