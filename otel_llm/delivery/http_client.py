"""
Posting to a server: the options, the connections and the errors that all sinks on HTTP share.

It imports no client: a sink's own file imports httpx2 at its top and hands it over. Such a sink is an options class
that inherits from `HttpOptions`, an `HttpClient` that it opens and closes, and a `send` that posts and gives
`http_answer.receipt` of the answer, or reads more out of it.
"""

import asyncio
import contextlib
import gzip
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from otel_llm.delivery.http_address import Url, is_metadata
from otel_llm.delivery.http_answer import Answer
from otel_llm.errors import MissingExtra, NotDelivered
from otel_llm.settings.conversion import Count, Unfit, convert
from otel_llm.settings.secret import Secret

Compression = Literal["none", "gzip", "zstd"]

MOST_ANSWER_BYTES: Final = 64 * 1024
"""How much of an answer is read, where a sink does not ask for more."""
IDLE_SECONDS: Final = 30.0
"""How long an unused connection stays open."""

_SHORTEST_TOKEN: Final = 8


def read_headers(raw: object) -> Mapping[str, Secret]:
    """
    Read HTTP headers; their values are kept as secrets.
    """
    headers: Mapping[str, Secret] = convert(raw, Mapping[str, Secret])
    for name, value in headers.items():
        if not _is_header(name, value.reveal()):
            raise Unfit("HTTP headers: names of letters, digits and dashes, each value on one line of ASCII")
    return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """
    Options of every sink that posts to a server.
    """

    headers: Annotated[Mapping[str, Secret], read_headers] = field(default_factory=dict)
    """Headers of every request, such as `Authorization: Bearer …`; their values are never shown."""
    compression: Compression = "none"
    """How bodies are compressed: `none`, `gzip` or `zstd`."""
    timeout_ms: Count = 5000
    """Longest time for a request and its answer, in milliseconds."""
    max_conns_per_host: Count = 100
    """Most connections at the same time; never more than `async_workers`."""
    allow_http: bool = False
    """Whether records may be sent in the clear to another machine; to this one they always may."""
    ca_file: str = ""
    """PEM file of the authorities to trust, instead of the system's or those of `SSL_CERT_FILE`."""
    cert_file: str = ""
    """PEM file of the certificate that we show to the server, with its key if `key_file` is not set."""
    key_file: str = ""
    """PEM file of that certificate's key."""
    proxy: Url | None = None
    """URL of a proxy to go through, with user and password if it wants them; the environment's proxies are not used."""

    def __post_init__(self) -> None:
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path and not Path(path).expanduser().is_file():
                raise ValueError(f"a file that exists in {name}")
        if self.key_file and not self.cert_file:
            raise ValueError("cert_file beside key_file")


class HttpClient:
    """
    Posts over a pool of connections; `library` is httpx2.

    It stands below that library's own client, which follows redirects, logs URLs, and is what others instrument.
    `credentials` are headers of every request whose values no error shows.
    """

    def __init__(
        self,
        library: Any,
        options: HttpOptions,
        *,
        credentials: Mapping[str, str] | None = None,
        most_answer_bytes: int = MOST_ANSWER_BYTES,
    ) -> None:
        self._library = library
        self._options = options
        self._credentials = credentials or {}
        self._most_answer_bytes = most_answer_bytes
        self._compress = _compressor(options.compression)
        self._headers = {
            "user-agent": f"otel-llm/{metadata.version('otel-llm')}",
            **({} if options.compression == "none" else {"content-encoding": options.compression}),
        }
        self._own_headers = {name.lower(): value.reveal() for name, value in options.headers.items()}
        hidden = [*self._credentials.values(), *self._own_headers.values()]
        self._secrets = [word for value in hidden for word in (value, *_words(value))]
        self._transport: Any = None

    async def open(self) -> None:
        """
        Prepare the pool; one that is there stays, its broken connections are replaced by themselves.
        """
        if self._transport is None:
            self._transport = await asyncio.get_running_loop().run_in_executor(None, self._new_transport)

    async def post(self, url: Secret, body: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Post `body` and read the answer; raises `NotDelivered` where there is none.

        `headers` may be overridden by those of the options.
        """
        parts = urlsplit(url.reveal())
        host = str(parts.hostname)
        login = {**_authorization(parts.username, parts.password), **self._credentials}
        fields = {**self._headers, **login, **headers, **self._own_headers}
        secrets = (parts.path, parts.query, *_words(fields.get("authorization", "")), *self._secrets)
        connecting = _Connecting()
        request = self._request(_without_user(url.reveal()), self._compress(body), fields, connecting)
        try:
            async with asyncio.timeout(self._options.timeout_ms / 1000), connecting:
                status, told, answer = await self._exchange(request)
        except TimeoutError as error:
            raise NotDelivered(f"no answer from {host} within {self._options.timeout_ms} ms") from error
        except self._library.TransportError as error:
            raise NotDelivered(f"no answer from {host}: {_root(error)}") from error
        return Answer(status, told, answer, host, body, secrets)

    async def close(self) -> None:
        """
        Close all connections.
        """
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _request(self, url: str, body: bytes, headers: Mapping[str, str], connecting: "_Connecting") -> Any:
        return self._library.Request("POST", url, headers=headers, content=body, extensions={"trace": connecting})

    async def _exchange(self, request: Any) -> tuple[int, Mapping[str, str], bytes]:
        response = await self._transport.handle_async_request(request)
        try:
            body = await _beginning(response, self._most_answer_bytes)
        finally:
            await response.aclose()
        return response.status_code, {name.lower(): value for name, value in response.headers.items()}, body

    def _new_transport(self) -> Any:
        connections = self._options.max_conns_per_host
        return self._library.AsyncHTTPTransport(
            verify=self._ssl_context(),
            limits=self._library.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_SECONDS
            ),
            proxy=None if self._options.proxy is None else self._options.proxy.reveal(),
        )

    def _ssl_context(self) -> ssl.SSLContext:
        ca_file, cert_file, key_file = (
            str(Path(path).expanduser()) if path else None
            for path in (self._options.ca_file, self._options.cert_file, self._options.key_file)
        )
        context: ssl.SSLContext = (
            ssl.create_default_context(cafile=ca_file) if ca_file else self._library.create_ssl_context()
        )
        if cert_file:
            context.load_cert_chain(cert_file, key_file)
        return context


class _Connecting:
    """
    Sees the events of one request's connection, until that is ready for the request.
    """

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
            self._look_where_it_leads()
        elif event == "connection.start_tls.complete" or event.startswith("http11."):
            self._stream = None

    async def __aenter__(self) -> None:
        """
        Begin to watch.
        """

    async def __aexit__(self, *_: object) -> None:
        # httpcore forgets the socket of a handshake that is cancelled.
        if self._stream is not None:
            await self._stream.aclose()

    def _look_where_it_leads(self) -> None:
        """
        Let nothing be sent to a metadata service, whatever name was looked up.
        """
        address = self._stream.get_extra_info("server_addr")
        if address is not None and is_metadata(str(address[0])):
            raise NotDelivered(f"the server's name leads to {address[0]}, a cloud's metadata service; nothing was sent")


async def _beginning(response: Any, most_bytes: int) -> bytes:
    body = b""
    async with contextlib.aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) >= most_bytes:
                break
    return body


def _compressor(name: Compression) -> Callable[[bytes], bytes]:
    if name == "gzip":
        return lambda body: gzip.compress(body, compresslevel=1, mtime=0)
    if name == "zstd":
        return _zstd()
    return lambda body: body


def _zstd() -> Callable[[bytes], bytes]:
    try:
        zstandard = import_module("zstandard")
    except ImportError as error:
        raise MissingExtra("compression zstd needs its codec: pip install zstandard") from error
    compress: Callable[[bytes], bytes] = zstandard.ZstdCompressor(level=1).compress
    return compress


def _authorization(username: str | None, password: str | None) -> Mapping[str, str]:
    if username is None:
        return {}
    told = f"{unquote(username)}:{unquote(password or '')}"
    return {"authorization": f"Basic {b64encode(told.encode()).decode()}"}


def _words(value: str) -> list[str]:
    """
    Give the parts of a header that a server may quote alone: the token behind `Bearer`.
    """
    return [word for word in value.split() if len(word) >= _SHORTEST_TOKEN]


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_header(name: str, value: str) -> bool:
    token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return token and value.isascii() and value.isprintable() and value == value.strip()


def _root(error: BaseException) -> str:
    """
    Say what was at the bottom of a client's error: it wraps that several times.
    """
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
        if inner is None:
            return f"{type(error).__name__}: {error}"
        error = inner
