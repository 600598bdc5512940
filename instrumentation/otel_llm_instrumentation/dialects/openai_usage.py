"""
How OpenAI's formats, and the many that follow them, spell tokens and money.

Their totals include the parts: cached tokens are inside the input, reasoning inside the output. The few providers that
keep reasoning apart are told by their own arithmetic.
"""

from decimal import Decimal

from msgspec import Struct

from otel_llm.call import Usage


class _Modalities(Struct):
    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _InputDetails(_Modalities):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cached_tokens_details: _Modalities | None = None


class _OutputDetails(_Modalities):
    reasoning_tokens: int | None = None


class _ServerTools(Struct):
    web_search_requests: int | None = None


class _CostParts(Struct):
    total_cost: Decimal | None = None
    """Perplexity."""
    upstream_inference_cost: Decimal | None = None
    """OpenRouter: what the caller's own provider key was charged."""


_NO_INPUT_DETAILS = _InputDetails()
_NO_OUTPUT_DETAILS = _OutputDetails()
_NO_MODALITIES = _Modalities()
_TICKS_PER_USD = 10


class OpenAIUsage(Struct):
    """
    The `usage` object: `prompt` and `completion` of chat, `input` and `output` of Responses.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek."""
    cached_tokens: int | None = None
    """Moonshot, Together."""
    reasoning_tokens: int | None = None
    """Perplexity."""
    num_search_queries: int | None = None
    """Perplexity."""
    server_tool_use: _ServerTools | None = None
    """OpenRouter."""
    cost: Decimal | _CostParts | None = None
    cost_details: _CostParts | None = None
    is_byok: bool | None = None
    """OpenRouter: the caller brought a provider key of their own, charged apart."""
    cost_in_usd_ticks: int | None = None
    """xAI: ten-billionths of a dollar."""

    def tokens(self) -> Usage:
        """
        Give the counts as every call has them.
        """
        read = self.prompt_tokens_details or self.input_tokens_details or _NO_INPUT_DETAILS
        written = self.completion_tokens_details or self.output_tokens_details or _NO_OUTPUT_DETAILS
        cached = read.cached_tokens_details or _NO_MODALITIES
        reasoning = self.reasoning_tokens if written.reasoning_tokens is None else written.reasoning_tokens
        given = self.input_tokens if self.prompt_tokens is None else self.prompt_tokens
        made = self.output_tokens if self.completion_tokens is None else self.completion_tokens
        return Usage(
            input_tokens=given,
            output_tokens=self._with_reasoning(given or 0, made, reasoning) if reasoning and made is not None else made,
            cache_read_tokens=self._cached() if read.cached_tokens is None else read.cached_tokens,
            cache_write_tokens=read.cache_write_tokens,
            reasoning_tokens=reasoning,
            audio_input_tokens=read.audio_tokens,
            audio_output_tokens=written.audio_tokens,
            audio_cache_read_tokens=cached.audio_tokens,
            image_input_tokens=read.image_tokens,
            image_output_tokens=written.image_tokens,
            image_cache_read_tokens=cached.image_tokens,
            text_input_tokens=read.text_tokens,
            text_output_tokens=written.text_tokens,
            text_cache_read_tokens=cached.text_tokens,
            web_searches=self._searches(),
        )

    def usd(self) -> Decimal | None:
        """
        Give what the provider says the call cost.
        """
        if self.cost_in_usd_ticks is not None:
            return Decimal(self.cost_in_usd_ticks).scaleb(-_TICKS_PER_USD)
        cost = self.cost.total_cost if isinstance(self.cost, _CostParts) else self.cost
        upstream = self.cost_details.upstream_inference_cost if self.cost_details and self.is_byok else None
        return cost if cost is None or upstream is None else cost + upstream

    def _with_reasoning(self, given: int, made: int, reasoning: int) -> int:
        apart = reasoning > made or self.total_tokens == given + made + reasoning
        return made + reasoning if apart else made

    def _cached(self) -> int | None:
        return self.cached_tokens if self.prompt_cache_hit_tokens is None else self.prompt_cache_hit_tokens

    def _searches(self) -> int | None:
        return self.server_tool_use.web_search_requests if self.server_tool_use else self.num_search_queries
