"""
Answers made of choices: chat completions and the legacy completions.
"""

from decimal import Decimal
from typing import Final

from msgspec import Struct

from otel_llm.capture.dialect import CONTENT, DONE, NOTHING, USAGE, Response, StreamReader
from otel_llm_instrumentation.dialects.decoding import UNREADABLE, Tolerant, plain
from otel_llm_instrumentation.dialects.openai_content import Transcript, output_messages
from otel_llm_instrumentation.dialects.openai_usage import OpenAIUsage
from otel_llm_instrumentation.dialects.provider_error import read_error

_END: Final = b"[DONE]"


class _Choice(Struct):
    index: int = 0
    finish_reason: str | None = None


class _Groq(Struct):
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
        usage = self.usage or (self.x_groq.usage if self.x_groq else None)
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

    def has_more_than_text(self) -> bool:
        """
        Tell whether other output than text is here.
        """
        return bool(
            self.reasoning_content
            or self.reasoning
            or self.tool_calls
            or self.refusal
            or self.audio
            or self.function_call
        )


class _StreamedChoice(_Choice):
    delta: _Delta | None = None
    text: str | None = None


class _Frame(Struct):
    choices: list[_StreamedChoice] | None = None
    usage: _Anything | None = None
    x_groq: _Anything | None = None
    error: _Anything | str | None = None


_answer = Tolerant(_Answer)
_frame = Tolerant(_Frame)
_envelope = Tolerant(_Envelope)


def asking_for_usage(body: bytes) -> bytes | None:
    """
    Put `stream_options.include_usage` into a streaming request that has no options of its own.
    """
    request = plain(body)
    if not request.get("stream") or request.get("stream_options") is not None:
        return None
    head, brace, members = body.partition(b"{")
    return head + brace + _INCLUDE_USAGE + members


_INCLUDE_USAGE: Final = b'"stream_options":{"include_usage":true},'


def read_choices(body: bytes, *, content: bool) -> Response:
    """
    Read a whole answer.
    """
    response = Response()
    answer = _answer.attempt(body)
    if answer is None:
        return response
    answer.tell(response)
    if answer.choices is None:
        read_error(body, response)
        return response
    response.finish_reasons = tuple([choice.finish_reason or "error" for choice in answer.choices])
    if content:
        response.output_messages = output_messages(plain(body).get("choices"))
    return response


class ChoiceStream(StreamReader):
    """
    Reads the chunks of one streamed answer.

    A chunk that only carries output is read for that alone; the first ones and those that end something are read in
    full.
    """

    __slots__ = ("_introduced", "_reasons", "_transcript")

    def __init__(self, *, content: bool = False) -> None:
        super().__init__(content=content)
        self._introduced = False
        self._reasons: dict[int, str | None] = {}
        self._transcript = Transcript()

    def feed(self, data: bytes, event: bytes) -> int:  # noqa: ARG002 - chunks have no names
        try:
            frame = _frame.strict(data)
        except UNREADABLE:
            if data.strip() == _END:
                return DONE
            mended = _frame.attempt(data)
            if mended is None:
                return NOTHING
            frame = mended
        if frame.error:
            read_error(data, self.response)
            return DONE
        if self.content:
            self._transcript.add(data)
        return self._read(frame, data)

    def finish(self) -> Response:
        reasons = self._reasons
        self.response.finish_reasons = tuple([reasons[index] or "error" for index in sorted(reasons)])
        if self.content:
            self.response.output_messages = output_messages(self._transcript.choices(reasons))
        return self.response

    def _read(self, frame: _Frame, data: bytes) -> int:
        told = NOTHING
        in_full = frame.usage or frame.x_groq or not self._introduced
        for choice in frame.choices or ():
            if choice.finish_reason or choice.index not in self._reasons:
                self._reasons[choice.index] = choice.finish_reason
                in_full = True
            delta = choice.delta
            if (delta and (delta.content or delta.has_more_than_text())) or choice.text:
                told = CONTENT
        if in_full:
            self._introduce(data)
        return USAGE if frame.usage and not frame.choices else told

    def _introduce(self, data: bytes) -> None:
        envelope = _envelope.attempt(data)
        if envelope:
            envelope.tell(self.response)
            self._introduced = bool(self.response.id and self.response.model)


def _known(cost: Decimal | None, before: Decimal | None) -> Decimal | None:
    return before if cost is None else cost
