"""
The least that the same signals cost: one span, one record and three histogram records, written by hand for one SDK.

No error handling, no attempts, no price, no content: nobody should run this. Everything else is measured against it.
"""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from openai.resources.chat.completions import completions
from opentelemetry import _logs, context, metrics, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.trace import Span, SpanKind, set_span_in_context

_ASKED = {
    "model": "gen_ai.request.model",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
}
_SERVER = {"server.address": "api.openai.com", "server.port": 443}
_CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", **_SERVER}
_OF_RECORD = {
    "otel_llm.status": "success",
    "otel_llm.event.type": "api_call",
    "otel_llm.attempts": 1,
    "http.request.method": "POST",
    "url.path": "/v1/chat/completions",
    "http.response.status_code": 200,
    "operation.cost": 0.0000615,
    "otel_llm.cost.source": "book",
    "user.id": "agent-12",
}


def install() -> None:
    """
    Put the instrumentation around openai's chat completions.
    """
    floor = _Floor()
    completions.Completions.create = floor.around(completions.Completions.create)  # type: ignore[method-assign]
    completions.AsyncCompletions.create = floor.around_async(completions.AsyncCompletions.create)  # type: ignore[method-assign]


class _Floor:
    def __init__(self) -> None:
        meter = metrics.get_meter("floor")
        self._tracer = trace.get_tracer("floor")
        self._logger = _logs.get_logger("floor")
        self._duration = meter.create_histogram("gen_ai.client.operation.duration")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage")

    def around(self, create: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create)
        def call(*args: Any, **asked: Any) -> Any:
            started = time.perf_counter()
            span = self._start(asked)
            token = context.attach(set_span_in_context(span))
            try:
                answer = create(*args, **asked)
            finally:
                context.detach(token)
            if asked.get("stream"):
                return self._chunks(answer, span, started, asked)
            self._end(span, started, asked, answer, answer.choices[0].finish_reason, answer.usage)
            return answer

        return call

    def around_async(self, create: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(create)
        async def call(*args: Any, **asked: Any) -> Any:
            started = time.perf_counter()
            span = self._start(asked)
            token = context.attach(set_span_in_context(span))
            try:
                answer = await create(*args, **asked)
            finally:
                context.detach(token)
            self._end(span, started, asked, answer, answer.choices[0].finish_reason, answer.usage)
            return answer

        return call

    def _start(self, asked: dict[str, Any]) -> Span:
        attributes = _CHAT | {name: asked[key] for key, name in _ASKED.items() if key in asked}
        return self._tracer.start_span(f"chat {asked['model']}", kind=SpanKind.CLIENT, attributes=attributes)

    def _chunks(self, chunks: Any, span: Span, started: float, asked: dict[str, Any]) -> Iterator[Any]:
        reason = usage = chunk = None
        for chunk in chunks:
            if chunk.usage is not None:
                usage = chunk.usage
            elif chunk.choices and chunk.choices[0].finish_reason is not None:
                reason = chunk.choices[0].finish_reason
            yield chunk
        self._end(span, started, asked, chunk, reason, usage)

    def _end(self, span: Span, started: float, asked: dict[str, Any], answer: Any, reason: Any, usage: Any) -> None:
        seconds = time.perf_counter() - started
        told = {
            "gen_ai.response.id": answer.id,
            "gen_ai.response.model": answer.model,
            "gen_ai.response.finish_reasons": (reason,),
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.prompt_tokens_details.cached_tokens,
        }
        if span.is_recording():
            span.set_attributes(told)
        record = _CHAT | {name: asked[key] for key, name in _ASKED.items() if key in asked} | told | _OF_RECORD
        self._emit(span, record | {"otel_llm.duration": seconds})
        self._record(seconds, asked["model"], answer.model, usage)
        span.end()

    def _emit(self, span: Span, attributes: dict[str, Any]) -> None:
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=set_span_in_context(span, context.Context()),
                severity_number=SeverityNumber.INFO,
                attributes=attributes,
                event_name="gen_ai.client.inference.operation.details",
            )
        )

    def _record(self, seconds: float, asked: str, answered: str, usage: Any) -> None:
        attributes = {**_CHAT, "gen_ai.request.model": asked, "gen_ai.response.model": answered}
        self._duration.record(seconds, attributes)
        self._tokens.record(usage.prompt_tokens, {**attributes, "gen_ai.token.type": "input"})
        self._tokens.record(usage.completion_tokens, {**attributes, "gen_ai.token.type": "output"})
