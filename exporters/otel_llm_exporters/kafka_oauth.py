"""Tokens for `oauthbearer`: one that is always the same, or fetched anew before it expires."""

import time
from base64 import b64encode
from typing import Annotated, Final, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote_plus, urlencode
from urllib.request import Request, urlopen

import msgspec

from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm_exporters.kafka import KafkaOptions

FOREVER_SECONDS: Final = 10 * 365 * 86_400
_REFUSED: Final = frozenset({400, 401, 403})


class Token(NamedTuple):
    """
    A token and the Unix time when it ends.
    """

    text: str
    expires: float


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: Annotated[float, msgspec.Meta(gt=0)] = 300.0


def token(options: KafkaOptions) -> Token:
    """
    Give the token to log in with; blocks.
    """
    if options.sasl_token:
        return Token(options.sasl_token.reveal(), time.time() + FOREVER_SECONDS)
    request = Request(  # noqa: S310 - the operator's own URL, checked when it was read
        options.sasl_token_url.reveal(),
        _form(options),
        {"Authorization": _basic(options), "Accept": "application/json"},
    )
    try:
        with urlopen(request, timeout=options.timeout_ms / 1000) as response:  # noqa: S310 - same
            answer = msgspec.json.decode(response.read(), type=_Answer)
    except HTTPError as error:
        error.close()
        kind = Unauthorized if error.code in _REFUSED else NotDelivered
        raise kind(f"no token for Kafka: status {error.code}") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise NotDelivered(f"no token for Kafka: {type(error).__name__}") from error
    return Token(answer.access_token, time.time() + answer.expires_in)


def _form(options: KafkaOptions) -> bytes:
    form = {"grant_type": "client_credentials"} | ({"scope": options.sasl_scope} if options.sasl_scope else {})
    return urlencode(form).encode()


def _basic(options: KafkaOptions) -> str:
    """
    Write our client credentials as RFC 6749 (section 2.3.1) wants them.
    """
    pair = f"{quote_plus(options.sasl_client_id)}:{quote_plus(options.sasl_client_secret.reveal())}"
    return f"Basic {b64encode(pair.encode()).decode()}"
