"""
OpenAI's legacy completions, which local servers still speak.
"""

from msgspec import Raw, Struct

from otel_llm.call import Content, Parameters
from otel_llm.capture.dialect import Dialect, Request, Response, Route, StreamReader
from otel_llm_instrumentation.dialects.decoding import Tolerant, plain
from otel_llm_instrumentation.dialects.message_parts import message, text
from otel_llm_instrumentation.dialects.openai_choices import ChoiceStream, asking_for_usage, read_choices
from otel_llm_instrumentation.dialects.openai_request import deployment, strings, unless


class _Ask(Struct):
    model: str | None = None
    prompt: Raw = Raw()
    stream: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None


_ask = Tolerant(_Ask)


class OpenAICompletions(Dialect):
    """
    `POST /completions`.
    """

    name = "openai_completions"
    provider = "openai"
    routes = (Route("(?<!/chat)/completions", "text_completion"),)

    def request(self, body: bytes, path: str) -> Request:
        ask = _ask.decode(body)
        return Request(
            model=ask.model or deployment(path),
            recognised=bool(ask.model and ask.prompt),
            stream=bool(ask.stream),
            parameters=Parameters(
                max_tokens=ask.max_tokens,
                temperature=ask.temperature,
                top_p=ask.top_p,
                top_k=ask.top_k,
                frequency_penalty=ask.frequency_penalty,
                presence_penalty=ask.presence_penalty,
                seed=ask.seed,
                choice_count=unless(1, ask.n),
                stop_sequences=strings(ask.stop),
            ),
            user_id=ask.user,
        )

    def prompt(self, body: bytes) -> Content:
        asked = plain(body).get("prompt")
        prompts = [asked] if isinstance(asked, str) else asked if isinstance(asked, list) else []
        return Content(input_messages=[message("user", [text(each)]) for each in prompts if isinstance(each, str)])

    def asking_for_usage(self, body: bytes) -> bytes | None:
        return asking_for_usage(body)

    def response(self, body: bytes, *, content: bool) -> Response:
        return read_choices(body, content=content)

    def stream(self, *, content: bool) -> StreamReader:
        return ChoiceStream(content=content)
