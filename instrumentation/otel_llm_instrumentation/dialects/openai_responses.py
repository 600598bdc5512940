"""
OpenAI Responses: created, streamed, run in the background, fetched later.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs

import msgspec
from msgspec import Raw, Struct

from otel_llm.call import Content, Parameters, Usage
from otel_llm.capture.dialect import CONTENT, DONE, NOTHING, Dialect, Request, Response, Route, StreamReader
from otel_llm_instrumentation.dialects.decoding import UNREADABLE, Tolerant, plain
from otel_llm_instrumentation.dialects.openai_content import content_parts, tool_definitions
from otel_llm_instrumentation.dialects.openai_items import TOOL_CALLS, ItemTranscript, item_messages, output_message
from otel_llm_instrumentation.dialects.openai_request import Format, Reasoning, output_type, unless
from otel_llm_instrumentation.dialects.openai_usage import OpenAIUsage
from otel_llm_instrumentation.dialects.provider_error import read_error

_REASONS: Final = {"completed": "stop", "failed": "error", "cancelled": "error", "incomplete": "incomplete"}
_INCOMPLETE_REASONS: Final = {"max_output_tokens": "length"}
_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_STATE_EVENTS: Final = frozenset({"response.created", "response.queued", "response.in_progress"}) | _LAST_EVENTS
_IMAGE_EVENT: Final = "response.image_generation_call.partial_image"
_END: Final = b"[DONE]"


class _Text(Struct):
    format: Format | None = None


class _Named(Struct):
    id: str | None = None


class _Ask(Struct):
    model: str | None = None
    input: Raw = Raw()
    prompt: Raw = Raw()
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: Reasoning | None = None
    text: _Text | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    conversation: _Named | str | None = None
    previous_response_id: str | None = None


class _Action(Struct):
    type: str | None = None


class _Item(Struct):
    type: str | None = None
    status: str | None = None
    action: _Action | None = None


class _Incomplete(Struct):
    reason: str | None = None


class _Anything(Struct):
    pass


class _Answer(Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    usage: OpenAIUsage | None = None
    output: list[_Item] | None = None
    service_tier: str | None = None
    conversation: _Named | None = None
    incomplete_details: _Incomplete | None = None
    error: _Anything | str | None = None

    def tell(self, response: Response) -> None:
        """
        Note what is here; what is missing never blanks what was known.
        """
        response.id = self.id or response.id
        response.model = self.model or response.model
        response.status = self.status or response.status
        response.service_tier = self.service_tier or response.service_tier
        response.finish_reasons = self.reasons() or response.finish_reasons
        if self.conversation:
            response.conversation_id = self.conversation.id
        if self.usage:
            response.usage = self._searched(self.usage.tokens())
            response.reported_cost = self.usage.usd()

    def reasons(self) -> tuple[str, ...]:
        """
        Give why generation stopped: an unfinished response has no reason, a finished one a reason per kind of output.
        """
        if self.status == "incomplete" and self.incomplete_details and self.incomplete_details.reason:
            reason = self.incomplete_details.reason
            return (_INCOMPLETE_REASONS.get(reason, reason),)
        if self.status not in _REASONS:
            return ()
        if self.status != "completed":
            return (_REASONS[self.status],)
        return tuple(dict.fromkeys(self._item_reasons())) or ("stop",)

    def _item_reasons(self) -> Iterator[str]:
        for item in self.output or ():
            if item.type in TOOL_CALLS and item.status != "in_progress":
                yield "tool_calls"
            elif item.type == "message" and item.status in _REASONS:
                yield _REASONS[item.status]

    def _searched(self, usage: Usage) -> Usage:
        """
        Count the web searches, which are billed; opening or reading a page found is not.
        """
        searches = [item for item in self.output or () if item.type == "web_search_call"]
        if not searches:
            return usage
        billed = sum(item.action is None or item.action.type in {None, "search"} for item in searches)
        return msgspec.structs.replace(usage, web_searches=billed)


class _Event(Struct):
    type: str | None = None


class _StateEvent(_Event):
    response: Raw = Raw()


_ask = Tolerant(_Ask)
_answer = Tolerant(_Answer)
_event = Tolerant(_Event)
_state_event = Tolerant(_StateEvent)


class OpenAIResponses(Dialect):
    """
    `POST /responses` and `GET /responses/{id}`.
    """

    name = "openai_responses"
    provider = "openai"
    routes = (Route("/responses", "chat"), Route("/responses/[^/]+", "fetch_response", "GET"))

    def request(self, body: bytes, path: str) -> Request:
        if not body:
            return _fetch(path)
        ask = _ask.decode(body)
        return Request(
            model=ask.model,
            recognised=bool(ask.model and (ask.input or ask.prompt)),
            stream=bool(ask.stream),
            background=bool(ask.background),
            parameters=_parameters(ask),
            user_id=ask.user or ask.safety_identifier,
            conversation_id=ask.conversation.id if isinstance(ask.conversation, _Named) else ask.conversation,
        )

    def prompt(self, body: bytes) -> Content:
        asked = plain(body)
        instructions = content_parts(asked.get("instructions"))
        return Content(
            system_instructions=instructions or None,
            input_messages=item_messages(asked.get("input")),
            tool_definitions=tool_definitions(asked.get("tools")),
        )

    def response(self, body: bytes, *, content: bool) -> Response:
        response = Response()
        _read(body, response)
        if content:
            response.output_messages = output_message(plain(body).get("output"), response.finish_reasons)
        return response

    def stream(self, *, content: bool) -> StreamReader:
        return ResponsesStream(content=content)


class ResponsesStream(StreamReader):
    """
    Reads the events of one streamed response: deltas are counted, the response as a whole is read when an event has it.
    """

    __slots__ = ("_transcript",)

    def __init__(self, *, content: bool = False) -> None:
        super().__init__(content=content)
        self._transcript = ItemTranscript()

    def feed(self, data: bytes, event: bytes) -> int:  # noqa: ARG002 - the payload names itself, with every server
        try:
            kind = _event.strict(data).type or ""
        except UNREADABLE:
            mended = _event.attempt(data)
            if mended is None:
                return DONE if data.strip() == _END else NOTHING
            kind = mended.type or ""
        if self.content:
            self._transcript.add(data)
        if kind.endswith(".delta") or kind == _IMAGE_EVENT:
            return CONTENT
        if kind in _STATE_EVENTS:
            state = _state_event.attempt(data)
            _read(state.response if state else b"", self.response)
            return DONE if kind in _LAST_EVENTS else NOTHING
        if kind == "error":
            read_error(data, self.response)
            return DONE
        return NOTHING

    def finish(self) -> Response:
        response = self.response
        if response.id and not response.finish_reasons:
            response.finish_reasons = ("error",)
        if self.content:
            response.output_messages = output_message(self._transcript.items(), response.finish_reasons)
        return response


def _fetch(path: str) -> Request:
    path, _, query = path.partition("?")
    asked = parse_qs(query)
    response_id = path.rpartition("/")[2]
    return Request(
        model=None,
        recognised=response_id.startswith("resp_"),
        stream=asked.get("stream") == ["true"],
        parameters=Parameters(stream_cursor=asked.get("starting_after", [None])[0]),
        response_id=response_id,
    )


def _parameters(ask: _Ask) -> Parameters:
    return Parameters(
        max_tokens=ask.max_output_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        reasoning_level=ask.reasoning.effort if ask.reasoning else None,
        output_type=output_type(ask.text.format) if ask.text else None,
        service_tier=unless("auto", ask.service_tier),
        previous_response_id=ask.previous_response_id,
    )


def _read(body: bytes | Raw, response: Response) -> None:
    answer = _answer.attempt(body)
    if answer is None:
        return
    answer.tell(response)
    if answer.error or answer.output is None:
        read_error(body, response)
