"""
The connection to Pub/Sub: where it is, over TLS with credentials or to an emulator without.

It is gRPC's synchronous channel, awaited: in a process that forks, the asynchronous one brings down the child.
"""

import asyncio
import contextlib
import json
import os
import re
import warnings
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import google.auth
import grpc
from google.api_core.exceptions import GoogleAPICallError, from_grpc_error
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.auth.exceptions import GoogleAuthError, TransportError
from google.oauth2.service_account import Credentials as ServiceAccount
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport as Transport

from otel_llm.delivery import native
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters.pubsub_options import PubsubOptions

EMULATOR: Final = "PUBSUB_EMULATOR_HOST"

_PUBLISH: Final = "/google.pubsub.v1.Publisher/Publish"
_CHANNEL: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),  # two minutes by itself, and the courier waits, too
)


class Connection:
    """
    Publishes to one topic; it connects when something is published, and again when it has to.
    """

    def __init__(self, channel: Any, options: PubsubOptions) -> None:
        self._channel = channel
        self._publish = channel.unary_unary(_PUBLISH)
        self._arguments = {
            "timeout": options.timeout_ms / 1000,
            "metadata": (to_grpc_metadata((("topic", options.topic),)),),
        }

    async def publish(self, request: bytes) -> None:
        """
        Send one encoded `PublishRequest`; raises `GoogleAPICallError` where it was not taken.
        """
        if not _threads_start():
            await self._publish_in_pool(request)
            return
        try:
            call = self._publish.future(request, **self._arguments)
        except ValueError as error:  # another worker, once refused, has opened the sink anew
            raise GoogleAPICallError(str(error)) from error
        await _end_of(call)

    def close(self) -> None:
        """
        Hang up; who waits for an answer gets an error.
        """
        self._channel.close()

    async def _publish_in_pool(self, request: bytes) -> None:
        """
        Send at the end of the process: gRPC wants a thread to wait in, and Python 3.12 starts no more.
        """
        try:
            work = partial(self._publish, request, **self._arguments)
            await asyncio.get_running_loop().run_in_executor(None, work)
        except grpc.RpcError as error:
            raise from_grpc_error(error) from error


def _threads_start() -> bool:
    """
    Whether the process is not at its end; asked beforehand, as gRPC finds out when half of the request is sent.
    """
    try:
        native.start_thread(_end_at_once, "otel-llm-probe")
    except RuntimeError:
        return False
    return True


def _end_at_once() -> None:
    """Be all that the thread does."""


async def _end_of(call: Any) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(ended.set)

    call.add_done_callback(wake)
    try:
        await ended.wait()
    finally:
        call.cancel()
    if call.code() is not grpc.StatusCode.OK:
        raise from_grpc_error(call)


async def connect(options: PubsubOptions) -> Connection:
    """
    Give a connection to where the options say.
    """
    endpoint = options.endpoint or os.environ.get(EMULATOR) or Transport.DEFAULT_HOST
    channel = await _secured(endpoint, options) if is_secured(endpoint) else _plain(endpoint)
    return Connection(channel, options)


def is_secured(endpoint: str) -> bool:
    """
    Whether a place is reached over TLS, with credentials.
    """
    if "://" in endpoint:
        return endpoint.startswith("https://")
    return re.fullmatch(r"(?:.*\.)?googleapis\.com(?::\d+)?/?", endpoint) is not None


def _plain(endpoint: str) -> Any:
    return grpc.insecure_channel(_address(endpoint, 80), _CHANNEL)


async def _secured(endpoint: str, options: PubsubOptions) -> Any:
    credentials = await asyncio.get_running_loop().run_in_executor(None, _credentials, options)
    roots = options.ca_file.expanduser().read_bytes() if options.ca_file else None
    return Transport.create_channel(
        _address(endpoint, 443),
        credentials=credentials,
        ssl_credentials=grpc.ssl_channel_credentials(roots),
        options=_CHANNEL,
    )


def _address(endpoint: str, port: int) -> str:
    host = endpoint.partition("://")[2] or endpoint
    parts = urlsplit(f"//{host.rstrip('/')}")
    return parts.netloc if parts.port else f"{parts.netloc}:{port}"


def _credentials(options: PubsubOptions) -> Any:
    try:
        found = _found(options)
    except GoogleAuthError as error:
        if error.retryable or isinstance(error, TransportError):
            raise NotDelivered(f"credentials for Pub/Sub cannot be fetched: {type(error).__name__}") from error
        raise Unauthorized(f"no credentials for Pub/Sub: {type(error).__name__}") from error
    except (OSError, ValueError) as error:
        raise Unauthorized(f"no credentials for Pub/Sub: {type(error).__name__}") from error
    # As Google's own clients do: such an account signs for itself, without asking anybody for a token.
    return found.with_always_use_jwt_access(True) if isinstance(found, ServiceAccount) else found


def _found(options: PubsubOptions) -> Any:
    if options.credentials_json is not None:
        return _loaded(options.credentials_json.reveal())
    if options.credentials_file is not None:
        return _loaded(options.credentials_file.expanduser().read_text("utf-8"))
    return google.auth.default(default_scopes=Transport.AUTH_SCOPES)[0]


def _loaded(document: str) -> Any:
    # The warning is about documents from strangers; this one is the operator's.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = google.auth.load_credentials_from_dict(json.loads(document), default_scopes=Transport.AUTH_SCOPES)
    return loaded[0]
