"""
What went wrong in a sink, in words that operators may see.

Of a foreign exception that is its class with status, code and host, or with the line that it came from: what client
libraries write may quote the request. What a sink says itself is shown without its secrets, without what follows a
URL's host, and without what it quotes of the records.
"""

import contextlib
import os
import re
import socket
import ssl
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from otel_llm.call import Content
from otel_llm.capture.quotation import unquoted
from otel_llm.delivery.sink import Record
from otel_llm.errors import OtelLLMError
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.redaction import MASK, Redactor

MOST_CHARACTERS: Final = 300

_CODES: Final = ("status", "status_code", "code", "errno", "sqlstate", "sqlite_errorname")
_CODE: Final = re.compile(r"[A-Z0-9_]{1,40}")
_SERVICE_CODE: Final = re.compile(r"[A-Za-z0-9_.]{1,60}")
_BEYOND_THE_HOST: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/@]*@)?([^\s/?#@'\"]*)[^\s'\"]*", re.IGNORECASE)
_SHORTEST_SECRET: Final = 4
_MOST_CAUSES: Final = 5
_DEPTH: Final = 6


class Diagnosis:
    """
    Writes about one sink.
    """

    def __init__(self) -> None:
        self._redactor = Redactor()
        self._secrets: tuple[str, ...] = ()

    def learn_secrets(self, sink: object) -> None:
        """
        Remember the secrets that a sink keeps, in its options, beside them, or in parts of its own package.
        """
        packages = {"otel_llm", _package(sink)}
        found = {secret.reveal() for secret in _secrets(sink, packages, _DEPTH)}
        self._secrets = tuple(sorted((each for each in found if len(each) >= _SHORTEST_SECRET), key=len, reverse=True))

    def of(self, error: BaseException, records: Sequence[Record] = ()) -> str:
        """
        Say what an exception means; what one of ours quotes of `records` is left out.
        """
        if not isinstance(error, OtelLLMError):
            return facts(error)
        told = self.clean(str(error)) or type(error).__name__
        bodies = [record.body.decode(errors="replace") for record in records]
        return unquoted(told, Content(input_messages=[{"bodies": bodies}]))

    def clean(self, text: str) -> str:
        """
        Take secrets and URLs' paths out of a sink's own words, and all but their beginning.
        """
        text = " ".join(text[: 4 * MOST_CHARACTERS].split())
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return self._redactor.text(_BEYOND_THE_HOST.sub(r"\1\2", text))[:MOST_CHARACTERS]


def facts(error: BaseException) -> str:
    """
    Give an exception's class, and the status, code and host that it or its causes tell, or else where it came from.
    """
    chain = tuple(_chain(error))
    details = dict.fromkeys(detail for each in chain for detail in _details(each))
    host = next(filter(None, map(_host, chain)), None)
    if not details and not host:
        return place(error)
    return type(error).__name__ + (f" from {host}" if host else "") + (f": {', '.join(details)}" if details else "")


def place(error: BaseException) -> str:
    """
    Give an exception's class and the line that it came from.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__ + (f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _details(error: BaseException) -> Iterator[str]:
    if isinstance(error, socket.gaierror):
        yield "the name cannot be resolved"
        return
    if isinstance(error, OSError) and isinstance(error.errno, int) and type(error).__module__ == "builtins":
        yield os.strerror(error.errno)
        return
    if isinstance(error, ssl.SSLError) and (reason := _peek(error, "reason")):
        yield str(reason)
        return
    response = _peek(error, "response")
    for owner in (error, response):
        yield from _codes(owner)
    if isinstance(response, Mapping):
        yield from _service_codes(response)


def _codes(owner: object) -> Iterator[str]:
    for name in _CODES:
        value = _peek(owner, name)
        if isinstance(value, int) and not isinstance(value, bool):
            yield f"{name.removesuffix('_code')} {int(value)}"
        elif isinstance(value, str) and _CODE.fullmatch(value):
            yield value


def _service_codes(response: Mapping[str, Any]) -> Iterator[str]:
    """
    Read botocore's parsed answers.
    """
    status, code = _inner(response, "ResponseMetadata", "HTTPStatusCode"), _inner(response, "Error", "Code")
    if isinstance(status, int):
        yield f"status {status}"
    if isinstance(code, str) and _SERVICE_CODE.fullmatch(code):
        yield code


def _inner(response: Mapping[str, Any], *names: str) -> object:
    found: Any = response
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _host(error: BaseException) -> str | None:
    told = _peek(error, "host")
    if isinstance(told, str):
        return told
    url = _peek(_peek(error, "request"), "url")
    with contextlib.suppress(ValueError):
        return urlsplit(str(url)).hostname if url is not None else None
    return None


def _peek(owner: object, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001 - anybody's property, asked only to write a message
        return None


def _secrets(value: object, packages: set[str], depth: int) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif depth:
        for inner in _parts(value, packages):
            yield from _secrets(inner, packages, depth - 1)


def _parts(value: object, packages: set[str]) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if is_dataclass(value):
        return [_peek(value, each.name) for each in fields(value)]
    return tuple(getattr(value, "__dict__", {}).values()) if _package(value) in packages else ()


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]
