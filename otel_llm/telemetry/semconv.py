"""
The names of the conventions, as constants and as rows beside the fields they come from.

Source: OpenTelemetry GenAI semantic conventions, schema `gen-ai-dev/1.42.0-dev` (all Development); names under
`otel_llm.` are ours.
"""

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_STATUS: Final = "http.response.status_code"
EVENT_ID: Final = "otel_llm.event.id"

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"

PARAMETERS: Final[dict[str, str | None]] = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "choice_count": None,  # told only when it is not 1
    "stop_sequences": "gen_ai.request.stop_sequences",
    "reasoning_level": "gen_ai.request.reasoning.level",
    "output_type": "gen_ai.output.type",
    "service_tier": None,  # OpenAI's own attribute, and only when it is not `auto`
    "encoding_formats": "gen_ai.request.encoding_formats",
    "embedding_dimensions": "gen_ai.embeddings.dimension.count",
    "previous_response_id": "gen_ai.request.previous_response.id",
    "stream_cursor": "gen_ai.request.stream_cursor",
}
"""Field of `Parameters` to attribute."""

USAGE: Final[dict[str, str | None]] = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "cache_write_1h_tokens": None,  # under our own prefix: any number under `gen_ai.usage.` counts as a usage type
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "audio_input_tokens": "gen_ai.usage.audio.input_tokens",
    "audio_output_tokens": "gen_ai.usage.audio.output_tokens",
    "audio_cache_read_tokens": "gen_ai.usage.audio.cache_read.input_tokens",
    "image_input_tokens": "gen_ai.usage.image.input_tokens",
    "image_output_tokens": "gen_ai.usage.image.output_tokens",
    "image_cache_read_tokens": "gen_ai.usage.image.cache_read.input_tokens",
    "text_input_tokens": "gen_ai.usage.text.input_tokens",
    "text_output_tokens": "gen_ai.usage.text.output_tokens",
    "text_cache_read_tokens": "gen_ai.usage.text.cache_read.input_tokens",
    "web_searches": None,
}
"""Field of `Usage` to attribute."""

OPENAI_API_TYPES: Final = {"openai_chat": "chat_completions", "openai_responses": "responses"}
"""Dialect to `openai.api.type`."""

OPENAI_PROVIDERS: Final = frozenset({"openai", "azure.ai.openai"})
"""Providers that the conventions' OpenAI attributes are for."""

DURATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
