"""
Which answer a request gets: the road from a path to the provider's own words.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from otel_llm.testing import anthropic, openai, responses
from otel_llm.testing.answer import ID, TEXT, Answer, Ask, document
from otel_llm.testing.reply import Reply

_REDIRECTS_FROM = 300
_STORED = 1000

_POST: tuple[tuple[str, Callable[[Ask], Answer]], ...] = (
    ("/chat/completions", openai.chat),
    ("/completions", openai.completions),
    ("/responses", responses.create),
    ("/embeddings", openai.embeddings),
    ("/messages", anthropic.messages),
    ("/messages/count_tokens", anthropic.count_tokens),
)


class Provider:
    """
    Remembers what a provider remembers: stored responses and cached prompts.
    """

    def __init__(self) -> None:
        self._stored: dict[str, Ask] = {}
        self._prefixes: set[bytes] = set()
        self._lock = Lock()

    def answer(self, method: str, target: str, body: bytes, reply: Reply, number: str) -> Answer:
        """
        Give the answer to one request, with `number` as its id.
        """
        path = urlsplit(target).path
        if reply.body is not None:
            return Answer((reply.body,), reply.status)
        if reply.status >= _REDIRECTS_FROM:
            return document(_error(path, reply.status), status=reply.status)
        if method == "GET":
            return self._fetched(target)
        if reply.text is None and reply.usage is None and not self._remembers(path, body):
            return _usual(path, body)
        return self._fresh(path, body, reply, number)

    def _remembers(self, path: str, body: bytes) -> bool:
        return path.endswith("/responses") or b'"cache_control"' in body

    def _fresh(self, path: str, body: bytes, reply: Reply, number: str) -> Answer:
        asked = _decoded(body)
        if asked is None:
            return document(_error(path, 400), status=400)
        ask = Ask(path, asked, reply.text or TEXT, reply.usage, self._seen(anthropic.marked_prefix(asked)))
        if path.endswith("/responses"):
            self._store(f"resp_{number}", ask)
        return _dispatch(ask)

    def _store(self, name: str, ask: Ask) -> None:
        with self._lock:
            self._stored[name] = ask
            if len(self._stored) > _STORED:
                del self._stored[next(iter(self._stored))]

    def _seen(self, prefix: bytes | None) -> bool:
        if prefix is None:
            return False
        with self._lock:
            known = prefix in self._prefixes
            self._prefixes.add(prefix)
        return known

    def _fetched(self, target: str) -> Answer:
        url = urlsplit(target)
        name = url.path.rpartition("/")[2]
        if name == "models":
            return document(
                {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "owned_by": "openai"}]}
            )
        ask = self._stored.get(name)
        if ask is None:
            return document(_error(url.path, 404), status=404)
        answer = responses.completed(ask, streamed=parse_qs(url.query).get("stream") == ["true"])
        own = tuple(piece.replace(f"resp_{ID}".encode(), name.encode()) for piece in answer.pieces)
        return Answer(own, streamed=answer.streamed)


def headers(path: str) -> dict[str, str]:
    """
    Give the headers that the provider behind a path adds to every answer.
    """
    return anthropic.HEADERS if "/messages" in path else openai.HEADERS


@lru_cache(maxsize=64)
def _usual(path: str, body: bytes) -> Answer:
    asked = _decoded(body)
    return document(_error(path, 400), status=400) if asked is None else _dispatch(Ask(path, asked))


def _dispatch(ask: Ask) -> Answer:
    for end, answer in _POST:
        if ask.path.endswith(end):
            return answer(ask)
    return document(_error(ask.path, 404), status=404)


def _decoded(body: bytes) -> dict[str, object] | None:
    try:
        asked = json.loads(body)
    except ValueError:
        return None
    return asked if isinstance(asked, dict) else None


def _error(path: str, status: int) -> dict[str, object]:
    return anthropic.error(status) if "/messages" in path else openai.error(status)
