"""
OpenAI chat completions, the format that most other providers speak too.
"""

from decimal import Decimal
from typing import ClassVar, Final

from msgspec import Raw, Struct

from otel_llm.call import Content, Parameters
from otel_llm.capture.dialect import CONTENT, DONE, NOTHING, Dialect, Request, Response, Route, StreamReader
from otel_llm_instrumentation.dialects.decoding import UNREADABLE, Tolerant
from otel_llm_instrumentation.dialects.openai_request import Format, Reasoning, deployment, output_type, strings, unless
from otel_llm_instrumentation.dialects.openai_usage import OpenAIUsage
from otel_llm_instrumentation.dialects.provider_error import read_error

_END: Final = b"[DONE]"


class _Ask(Struct):
    model: str | None = None
    messages: Raw = Raw()
    stream: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    response_format: Format | str | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None


class _Choice(Struct):
    index: int = 0
    finish_reason: str | None = None


class _Groq(Struct):
    id: str | None = None
    usage: OpenAIUsage | None = None


class _Envelope(Struct):
    id: str | None = None
    model: str | None = None
    usage: OpenAIUsage | None = None
    x_groq: _Groq | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None

    def tell(self, response: Response) -> None:
        """
        Note what is here; what is missing never blanks what was known.
        """
        response.id = self.id or response.id
        response.model = self.model or response.model
        response.service_tier = self.service_tier or response.service_tier
        response.system_fingerprint = self.system_fingerprint or response.system_fingerprint
        usage = self.usage or (self.x_groq and self.x_groq.usage)
        if usage:
            response.usage = usage.tokens()
            response.reported_cost = _known(usage.usd(), response.reported_cost)


class _Answer(_Envelope):
    choices: list[_Choice] | None = None


class _Anything(Struct):
    pass


class _Delta(Struct):
    content: str | list[_Anything] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Anything] | None = None
    function_call: _Anything | None = None
    audio: _Anything | None = None


class _StreamedChoice(_Choice):
    delta: _Delta | None = None


class _Frame(Struct):
    choices: list[_StreamedChoice] | None = None
    usage: _Anything | None = None
    x_groq: _Anything | None = None
    error: _Anything | str | None = None


_ask = Tolerant(_Ask)
_answer = Tolerant(_Answer)
_frame = Tolerant(_Frame)
_envelope = Tolerant(_Envelope)


class OpenAIChat(Dialect):
    """
    `POST /chat/completions`, at OpenAI, at Azure, and at everybody who is compatible.
    """

    name = "openai_chat"
    provider = "openai"
    openai_api: ClassVar[str | None] = "chat_completions"
    routes = (Route("/chat/completions", "chat"),)

    def request(self, body: bytes, path: str) -> Request:
        ask = _ask.decode(body)
        return Request(
            model=ask.model or deployment(path),
            recognised=bool(ask.model and ask.messages),
            stream=bool(ask.stream),
            parameters=_parameters(ask),
            user_id=ask.user or ask.safety_identifier,
        )

    def prompt(self, body: bytes) -> Content:
        return Content()

    def response(self, body: bytes, *, content: bool) -> Response:
        response = Response()
        answer = _answer.attempt(body)
        if answer is None:
            return response
        answer.tell(response)
        if answer.choices is None:
            read_error(body, response)
            return response
        response.finish_reasons = tuple([choice.finish_reason or "error" for choice in answer.choices])
        return response

    def stream(self, *, content: bool) -> StreamReader:
        return ChatStream(content=content)


class ChatStream(StreamReader):
    """
    Reads the chunks of one streamed chat completion.

    A chunk that only carries text is read for that alone; the first ones and those that end something are read in full.
    """

    __slots__ = ("_introduced", "_reasons")

    def __init__(self, *, content: bool = False) -> None:
        super().__init__(content=content)
        self._introduced = False
        self._reasons: dict[int, str | None] = {}

    def feed(self, data: bytes, event: bytes) -> int:  # noqa: ARG002 - chunks have no names
        try:
            frame = _frame.strict(data)
        except UNREADABLE:
            odd = self._odd(data)
            if isinstance(odd, int):
                return odd
            frame = odd
        if frame.error:
            read_error(data, self.response)
            return DONE
        told = NOTHING
        in_full = frame.usage or frame.x_groq or not self._introduced
        for choice in frame.choices or ():
            if choice.finish_reason or choice.index not in self._reasons:
                self._reasons[choice.index] = choice.finish_reason
                in_full = True
            delta = choice.delta
            if delta is not None and (delta.content or _has_other_output(delta)):
                told = CONTENT
        if in_full:
            self._introduce(data)
        return told

    def finish(self) -> Response:
        reasons = self._reasons
        self.response.finish_reasons = tuple([reasons[index] or "error" for index in sorted(reasons)])
        return self.response

    def _introduce(self, data: bytes) -> None:
        envelope = _envelope.attempt(data)
        if envelope is not None:
            envelope.tell(self.response)
            self._introduced = bool(self.response.id and self.response.model)

    def _odd(self, data: bytes) -> _Frame | int:
        if data.strip() == _END:
            return DONE
        frame = _frame.attempt(data)
        return NOTHING if frame is None else frame


def _parameters(ask: _Ask) -> Parameters:
    return Parameters(
        max_tokens=ask.max_tokens if ask.max_completion_tokens is None else ask.max_completion_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        top_k=ask.top_k,
        frequency_penalty=ask.frequency_penalty,
        presence_penalty=ask.presence_penalty,
        seed=ask.seed,
        choice_count=unless(1, ask.n),
        stop_sequences=strings(ask.stop),
        reasoning_level=ask.reasoning_effort or (ask.reasoning.effort if ask.reasoning else None),
        output_type=output_type(ask.response_format, ask.modalities),
        service_tier=unless("auto", ask.service_tier),
    )


def _has_other_output(delta: _Delta) -> bool:
    return bool(
        delta.reasoning_content
        or delta.reasoning
        or delta.tool_calls
        or delta.refusal
        or delta.audio
        or delta.function_call
    )


def _known(cost: Decimal | None, before: Decimal | None) -> Decimal | None:
    return before if cost is None else cost
