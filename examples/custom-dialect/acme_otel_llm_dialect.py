"""
A dialect of one's own: how Acme's models are asked, and how they answer.

    POST /acme/v2/ask   {"engine": "acme-1", "question": "…", "live": false}
                        {"ticket": "t-1", "engine": "acme-1", "reply": "…", "spent": {"read": 9, "wrote": 4}}

Live answers are server-sent events: `{"word": "…"}` for each word, then the document above without its reply.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec
from msgspec import Struct

from otel_llm import Content, Dialect, Request, Response, Route, StreamReader, Usage
from otel_llm.capture.dialect import CONTENT, DONE


class Spent(Struct):
    """
    What a call used up.
    """

    read: int | None = None
    wrote: int | None = None


class Question(Struct):
    """
    What is asked.
    """

    engine: str
    question: str
    live: bool = False


class Reply(Struct):
    """
    A whole answer, or the last frame of a live one.
    """

    ticket: str | None = None
    engine: str | None = None
    reply: str | None = None
    spent: Spent | None = None


_question = msgspec.json.Decoder(Question).decode
_reply = msgspec.json.Decoder(Reply).decode


class AcmeDialect(Dialect):
    """
    Reads `POST /acme/v2/ask`.
    """

    name = "acme"
    provider = "acme"
    routes = (Route("/acme/v2/ask", "chat"),)
    hosts: ClassVar[Mapping[str, str]] = {"llm.acme.example": "acme"}

    def request(self, body: bytes, path: str) -> Request:  # noqa: ARG002 - the path tells nothing more
        question = _question(body)
        return Request(question.engine, stream=question.live)

    def prompt(self, body: bytes) -> Content:
        return Content(input_messages=[{"role": "user", "parts": [_text(_question(body).question)]}])

    def response(self, body: bytes, *, content: bool) -> Response:
        return _read(_reply(body), content=content)

    def stream(self, *, content: bool) -> StreamReader:
        return AcmeStream(content=content)


class AcmeStream(StreamReader):
    """
    Reads a live answer word by word.
    """

    __slots__ = ("_words",)

    def __init__(self, *, content: bool = False) -> None:
        super().__init__(content=content)
        self._words: list[str] = []

    def feed(self, data: bytes, event: bytes) -> int:  # noqa: ARG002 - Acme names no events
        if data.startswith(b'{"word"'):
            self._keep(data)
            return CONTENT
        self.response = _read(_reply(data), content=False)
        return DONE

    def finish(self) -> Response:
        if self.content:
            self.response.output_messages = [_said("".join(self._words))]
        return self.response

    def _keep(self, data: bytes) -> None:
        if self.content:
            self._words.append(msgspec.json.decode(data)["word"])


def _read(reply: Reply, *, content: bool) -> Response:
    return Response(
        id=reply.ticket,
        model=reply.engine,
        usage=Usage(input_tokens=reply.spent.read, output_tokens=reply.spent.wrote) if reply.spent else None,
        finish_reasons=("stop",),
        output_messages=[_said(reply.reply or "")] if content else None,
    )


def _said(text: str) -> dict[str, object]:
    return {"role": "assistant", "parts": [_text(text)], "finish_reason": "stop"}


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "content": text}
