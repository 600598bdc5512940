"""
OpenAI chat completions, the format that most other providers speak too.
"""

from msgspec import Raw, Struct

from otel_llm.call import Content, Parameters
from otel_llm.capture.dialect import Dialect, Request, Response, Route, StreamReader
from otel_llm_instrumentation.dialects.decoding import Tolerant, plain
from otel_llm_instrumentation.dialects.openai_choices import ChoiceStream, asking_for_usage, read_choices
from otel_llm_instrumentation.dialects.openai_content import input_messages, tool_definitions
from otel_llm_instrumentation.dialects.openai_request import (
    Format,
    Reasoning,
    deployment,
    output_type,
    strings,
)


class _Ask(Struct):
    model: str | None = None
    messages: Raw = Raw()
    stream: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
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


_ask = Tolerant(_Ask)


class OpenAIChat(Dialect):
    """
    `POST /chat/completions`, at OpenAI, at Azure, and at everybody who is compatible.
    """

    name = "openai_chat"
    provider = "openai"
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
        asked = plain(body)
        return Content(
            input_messages=input_messages(asked.get("messages")),
            tool_definitions=tool_definitions(asked.get("tools")),
        )

    def asking_for_usage(self, body: bytes) -> bytes | None:
        return asking_for_usage(body)

    def response(self, body: bytes, *, content: bool) -> Response:
        return read_choices(body, content=content)

    def stream(self, *, content: bool) -> StreamReader:
        return ChoiceStream(content=content)


def _parameters(ask: _Ask) -> Parameters:
    return Parameters(
        max_tokens=ask.max_tokens if ask.max_completion_tokens is None else ask.max_completion_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        top_k=ask.top_k,
        frequency_penalty=ask.frequency_penalty,
        presence_penalty=ask.presence_penalty,
        seed=ask.seed,
        choice_count=None if ask.n == 1 else ask.n,
        stop_sequences=None if ask.stop is None else strings(ask.stop),
        reasoning_level=ask.reasoning_effort or (ask.reasoning.effort if ask.reasoning else None),
        output_type=output_type(ask.response_format, ask.modalities) if ask.response_format or ask.modalities else None,
        service_tier=None if ask.service_tier == "auto" else ask.service_tier,
    )
