"""The connection to Pub/Sub: where it is, over TLS with credentials or to an emulator without."""

import asyncio
import json
import os
import re
import warnings
from typing import Any, Final
from urllib.parse import urlsplit

import google.auth
import grpc
from google.auth.exceptions import GoogleAuthError, TransportError
from google.pubsub_v1.services.publisher.async_client import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports.grpc_asyncio import PublisherGrpcAsyncIOTransport as Transport

from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters.pubsub_options import PubsubOptions

EMULATOR: Final = "PUBSUB_EMULATOR_HOST"

_CHANNEL: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),  # two minutes by itself, and the courier waits, too
)


async def connect(options: PubsubOptions) -> PublisherAsyncClient:
    """
    Give a client; it connects when something is published.
    """
    endpoint = options.endpoint or os.environ.get(EMULATOR) or Transport.DEFAULT_HOST
    transport = await _secured(endpoint, options) if is_secured(endpoint) else _plain(endpoint)
    return PublisherAsyncClient(transport=transport)


def is_secured(endpoint: str) -> bool:
    """
    Whether a place is reached over TLS, with credentials.
    """
    if "://" in endpoint:
        return endpoint.startswith("https://")
    return re.fullmatch(r"(?:.*\.)?googleapis\.com(?::\d+)?/?", endpoint) is not None


def _plain(endpoint: str) -> Transport:
    return Transport(channel=grpc.aio.insecure_channel(_address(endpoint, 80), _CHANNEL))


async def _secured(endpoint: str, options: PubsubOptions) -> Transport:
    credentials = await asyncio.get_running_loop().run_in_executor(None, _credentials, options)
    roots = options.ca_file.expanduser().read_bytes() if options.ca_file else None
    return Transport(
        host=_address(endpoint, 443),
        credentials=credentials,
        ssl_channel_credentials=grpc.ssl_channel_credentials(roots),
        channel=_channel,
        always_use_jwt_access=True,
    )


def _channel(host: str, **arguments: Any) -> grpc.aio.Channel:
    return Transport.create_channel(host, **{**arguments, "options": _CHANNEL})


def _address(endpoint: str, port: int) -> str:
    host = endpoint.partition("://")[2] or endpoint
    parts = urlsplit(f"//{host.rstrip('/')}")
    return parts.netloc if parts.port else f"{parts.netloc}:{port}"


def _credentials(options: PubsubOptions) -> Any:
    try:
        return _found(options)
    except GoogleAuthError as error:
        if error.retryable or isinstance(error, TransportError):
            raise NotDelivered(f"credentials for Pub/Sub cannot be fetched: {type(error).__name__}") from error
        raise Unauthorized(f"no credentials for Pub/Sub: {type(error).__name__}") from error
    except (OSError, ValueError) as error:
        raise Unauthorized(f"no credentials for Pub/Sub: {type(error).__name__}") from error


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
        loaded = google.auth.load_credentials_from_dict(  # type: ignore[no-untyped-call]
            json.loads(document), default_scopes=Transport.AUTH_SCOPES
        )
    return loaded[0]
