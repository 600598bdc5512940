"""
OpenAI embeddings, the format that most other providers speak too.
"""

from msgspec import Raw, Struct

from otel_llm.call import Content, Parameters
from otel_llm.capture.dialect import NOTHING, Dialect, Request, Response, Route, StreamReader
from otel_llm_instrumentation.dialects.decoding import Tolerant
from otel_llm_instrumentation.dialects.openai_request import deployment
from otel_llm_instrumentation.dialects.openai_usage import OpenAIUsage
from otel_llm_instrumentation.dialects.provider_error import read_error


class _Ask(Struct):
    model: str | None = None
    input: Raw = Raw()
    dimensions: int | None = None
    encoding_format: str | None = None
    user: str | None = None


class _Vector(Struct):
    embedding: Raw = Raw()


class _Answer(Struct):
    id: str | None = None
    model: str | None = None
    data: list[_Vector] | None = None
    usage: OpenAIUsage | None = None


_FLOAT_BYTES = 4

_ask = Tolerant(_Ask)
_answer = Tolerant(_Answer)


class OpenAIEmbeddings(Dialect):
    """
    `POST /embeddings`.
    """

    name = "openai_embeddings"
    provider = "openai"
    routes = (Route("/embeddings", "embeddings"),)

    def request(self, body: bytes, path: str) -> Request:
        ask = _ask.decode(body)
        return Request(
            model=ask.model or deployment(path),
            recognised=bool(ask.model and ask.input),
            parameters=Parameters(
                embedding_dimensions=ask.dimensions,
                encoding_formats=(ask.encoding_format,) if ask.encoding_format else None,
            ),
            user_id=ask.user,
        )

    def prompt(self, body: bytes) -> Content:  # noqa: ARG002 - the conventions keep no content of embeddings
        return Content()

    def response(self, body: bytes, *, content: bool) -> Response:  # noqa: ARG002 - vectors are no content
        response = Response()
        answer = _answer.attempt(body)
        if answer is None:
            return response
        response.id, response.model = answer.id, answer.model
        if answer.usage:
            response.usage, response.reported_cost = answer.usage.tokens(), answer.usage.usd()
        if answer.data:
            response.embedding_dimensions = _length(bytes(answer.data[0].embedding))
        else:
            read_error(body, response)
        return response

    def stream(self, *, content: bool) -> StreamReader:
        return _NeverStreamed(content=content)


class _NeverStreamed(StreamReader):
    """
    Embeddings come in one piece; a server that frames them tells nothing we can use.
    """

    __slots__ = ()

    def feed(self, data: bytes, event: bytes) -> int:  # noqa: ARG002 - as above
        return NOTHING


def _length(vector: bytes) -> int | None:
    """
    Give the length of a vector of numbers, or of one packed into base64; None for any other.
    """
    if vector.startswith(b'"'):
        packed = vector.strip(b'"=')
        return len(packed) * 3 // 4 // _FLOAT_BYTES
    return vector.count(b",") + 1 if vector.startswith(b"[") and not vector.startswith((b"[]", b"[[")) else None
