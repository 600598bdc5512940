"""
Anthropic messages, also in beta and at those who are compatible.
"""

from decimal import Decimal
from typing import Final

from msgspec import Raw, Struct

from otel_llm.call import Content, Parameters, Usage
from otel_llm.capture.dialect import CONTENT, DONE, NOTHING, Dialect, Request, Response, Route, StreamReader
from otel_llm_instrumentation.dialects.anthropic_content import (
    BlockTranscript,
    content_parts,
    input_messages,
    output_message,
    tool_definitions,
)
from otel_llm_instrumentation.dialects.decoding import UNREADABLE, Tolerant, plain
from otel_llm_instrumentation.dialects.provider_error import read_error

_REASONS: Final = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_call"}
"""`stop_reason` in the words of the conventions; the others stay as they are."""


class _Metadata(Struct):
    user_id: str | None = None


class _Format(Struct):
    type: str | None = None


class _OutputConfig(Struct):
    effort: str | None = None
    format: _Format | None = None


class _Ask(Struct):
    model: str | None = None
    messages: Raw = Raw()
    stream: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    service_tier: str | None = None
    metadata: _Metadata | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None


class _CacheCreation(Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(Struct):
    thinking_tokens: int | None = None


class _ServerTools(Struct):
    web_search_requests: int | None = None


class _Usage(Struct):
    input_tokens: int | None = None
    """Only what was neither read from nor written to the cache."""
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    cost: Decimal | None = None
    """OpenRouter, in Anthropic's format too."""

    def then(self, later: "_Usage") -> "_Usage":
        """
        Give the later counts, which are cumulative, over those that were not told again.
        """
        told = (getattr(later, name) for name in self.__struct_fields__)
        before = (getattr(self, name) for name in self.__struct_fields__)
        return _Usage(*(old if new is None else new for new, old in zip(told, before, strict=True)))

    def tokens(self) -> Usage:
        """
        Give the counts as every call has them: the total input includes what the cache took part in.
        """
        inputs = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        told = [count for count in inputs if count is not None]
        details, tools, written = self.output_tokens_details, self.server_tool_use, self.cache_creation
        return Usage(
            input_tokens=sum(told) if told else None,
            output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_input_tokens,
            cache_write_tokens=self.cache_creation_input_tokens,
            cache_write_1h_tokens=written.ephemeral_1h_input_tokens if written else None,
            reasoning_tokens=details.thinking_tokens if details else None,
            web_searches=tools.web_search_requests if tools else None,
        )


class _Message(Struct):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Answer(_Message):
    type: str | None = None
    role: str | None = None


class _Delta(Struct):
    stop_reason: str | None = None


class _Block(Struct):
    type: str | None = None


class _Event(Struct):
    type: str | None = None


class _FullEvent(_Event):
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    content_block: _Block | None = None


_ask = Tolerant(_Ask)
_answer = Tolerant(_Answer)
_event = Tolerant(_Event)
_full_event = Tolerant(_FullEvent)


class AnthropicMessages(Dialect):
    """
    `POST /v1/messages`.
    """

    name = "anthropic"
    provider = "anthropic"
    routes = (Route("(?:/v1|/anthropic)/messages", "chat"),)

    def request(self, body: bytes, path: str) -> Request:  # noqa: ARG002 - the path tells nothing more
        ask = _ask.decode(body)
        return Request(
            model=ask.model,
            recognised=bool(ask.model and ask.messages),
            stream=bool(ask.stream),
            parameters=_parameters(ask),
            user_id=ask.metadata.user_id if ask.metadata else None,
        )

    def prompt(self, body: bytes) -> Content:
        asked = plain(body)
        return Content(
            system_instructions=content_parts(asked.get("system")) or None,
            input_messages=input_messages(asked.get("messages")),
            tool_definitions=tool_definitions(asked.get("tools")),
        )

    def response(self, body: bytes, *, content: bool) -> Response:
        response = Response()
        answer = _answer.attempt(body)
        if answer is None:
            return response
        if answer.type == "error" or answer.role is None:
            read_error(body, response)
        _tell(answer, response)
        _tell_usage(answer.usage, response)
        if content:
            response.output_messages = output_message(plain(body).get("content"), response.finish_reasons)
        return response

    def stream(self, *, content: bool) -> StreamReader:
        return MessageStream(content=content)


class MessageStream(StreamReader):
    """
    Reads the events of one streamed message.
    """

    __slots__ = ("_transcript", "_usage")

    def __init__(self, *, content: bool = False) -> None:
        super().__init__(content=content)
        self._usage = _Usage()
        self._transcript = BlockTranscript()

    def feed(self, data: bytes, event: bytes) -> int:
        if event == b"content_block_delta" and not self.content:
            return CONTENT
        # The payload names itself, with servers that do not name their frames, too.
        try:
            kind = _event.strict(data).type
        except UNREADABLE:
            mended = _event.attempt(data)
            if mended is None:
                return NOTHING
            kind = mended.type
        if self.content:
            self._transcript.add(data)
        if kind == "content_block_delta":
            return CONTENT
        if kind == "message_stop":
            return DONE
        if kind == "error":
            read_error(data, self.response)
            return DONE
        full = _full_event.attempt(data)
        return NOTHING if full is None else self._other(full)

    def finish(self) -> Response:
        if self.response.id and not self.response.finish_reasons:
            self.response.finish_reasons = ("error",)
        if self.content:
            self.response.output_messages = output_message(self._transcript.blocks(), self.response.finish_reasons)
        return self.response

    def _other(self, event: _FullEvent) -> int:
        if event.message:
            _tell(event.message, self.response)
        if event.delta:
            _tell_reason(event.delta.stop_reason, self.response)
        usage = event.usage or (event.message.usage if event.message else None)
        if usage:
            self._usage = self._usage.then(usage)
            _tell_usage(self._usage, self.response)
        block = event.content_block.type if event.content_block else None
        return CONTENT if block is not None and block.endswith("tool_use") else NOTHING


def _parameters(ask: _Ask) -> Parameters:
    config = ask.output_config or _OutputConfig()
    form = config.format or ask.output_format
    return Parameters(
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        top_k=ask.top_k,
        stop_sequences=None if ask.stop_sequences is None else tuple(ask.stop_sequences),
        reasoning_level=config.effort,
        output_type="json" if form and form.type == "json_schema" else None,
        service_tier=None if ask.service_tier == "auto" else ask.service_tier,
    )


def _tell(message: _Message, response: Response) -> None:
    response.id = message.id or response.id
    response.model = message.model or response.model
    _tell_reason(message.stop_reason, response)


def _tell_reason(reason: str | None, response: Response) -> None:
    if reason:
        response.finish_reasons = (_REASONS.get(reason, reason),)


def _tell_usage(usage: _Usage | None, response: Response) -> None:
    if usage:
        response.usage = usage.tokens()
        response.service_tier = "fast" if usage.speed == "fast" else usage.service_tier
        response.reported_cost = usage.cost
