"""The requests that one batch takes, and what their answers say of each record: the same for every client."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from msgspec import Struct

from otel_llm.delivery import template
from otel_llm.delivery.diagnosis import facts
from otel_llm.delivery.sink import DELIVERED, Batch, Outcome, Receipt, Record, Rejected, Retry
from otel_llm.errors import Unauthorized
from otel_llm_exporters.kinesis import KinesisOptions

MOST_RECORDS: Final = 500
"""Records in one request."""
KEY_CHARACTERS: Final = 256
"""Characters of a partition key."""


class Entry(Struct, frozen=True):
    """
    One record as Kinesis takes it, and its place in the batch.
    """

    place: int
    data: bytes
    key: str

    @property
    def size(self) -> int:
        """Bytes that count against the limits."""
        return len(self.data) + len(self.key.encode())


class Requests:
    """
    Gives one request after another to a client, hears how each went, and writes the receipt.
    """

    def __init__(self, batch: Batch, options: KinesisOptions) -> None:
        self._options = options
        self._outcomes: list[Outcome] = [DELIVERED] * len(batch.records)
        self._left = deque(self._split([_entry(*each, options) for each in enumerate(batch.records)]))
        self._sent: list[Entry] = []
        self._refusal: Unauthorized | None = None

    def next(self) -> dict[str, Any] | None:
        """
        Give the arguments of the next `put_records`; None when there is nothing more to send.
        """
        if not self._left:
            return None
        self._sent = self._left.popleft()
        records = [{"Data": entry.data, "PartitionKey": entry.key} for entry in self._sent]
        return {"StreamName": self._options.stream_name, "Records": records}

    def answered(self, answer: Mapping[str, Any]) -> None:
        """
        Note which records of the last request were taken.
        """
        for entry, result in zip(self._sent, answer["Records"], strict=True):
            if code := result.get("ErrorCode"):
                self._outcomes[entry.place] = Retry(reason=f"{code} from {_place(self._options)}")

    def failed(self, error: Exception) -> None:
        """
        Note that the last request was taken as a whole or in no part.
        """
        code, status = _code(error)
        if code not in _REJECTING and status != _TOO_LARGE:
            self._stop(error, code)
        elif len(self._sent) > 1:
            middle = len(self._sent) // 2
            self._left.extendleft((self._sent[middle:], self._sent[:middle]))
        else:
            (entry,) = self._sent
            self._outcomes[entry.place] = Rejected(f"Kinesis does not take its {entry.size} bytes: {code or status}")

    def receipt(self) -> Receipt:
        """
        Say what became of the batch; raises `Unauthorized` where nothing was taken.
        """
        if self._refusal is not None and DELIVERED not in self._outcomes:
            raise self._refusal
        return Receipt(self._outcomes)

    def _split(self, entries: Sequence[Entry]) -> Iterator[list[Entry]]:
        """
        Cut what fits into requests, and set aside what fits into none.
        """
        request: list[Entry] = []
        size = 0
        for entry in entries:
            if entry.size > self._options.record_bytes:
                self._outcomes[entry.place] = _too_large(entry, self._options.record_bytes)
                continue
            if request and (len(request) == MOST_RECORDS or size + entry.size > self._options.request_bytes):
                yield request
                request, size = [], 0
            request.append(entry)
            size += entry.size
        if request:
            yield request

    def _stop(self, error: Exception, code: str) -> None:
        """
        Send no more of this batch: what follows would meet the same error.
        """
        reason = _reason(error, code, self._options)
        if isinstance(error, _NO_CREDENTIALS) or code in _REFUSING:
            self._refusal = Unauthorized(reason)
        for request in (self._sent, *self._left):
            for entry in request:
                self._outcomes[entry.place] = Retry(reason=reason)
        self._left.clear()


def client_arguments(options: KinesisOptions) -> dict[str, Any]:
    """
    Give what every client is made with; what is not set is left to its own look-up.
    """
    return {
        "region_name": options.region,
        "endpoint_url": options.endpoint or None,
        "verify": str(options.ca_file.expanduser()) if options.ca_file else None,
        "aws_access_key_id": options.access_key_id or None,
        "aws_secret_access_key": options.secret_access_key.reveal() or None,
        "aws_session_token": options.session_token.reveal() or None,
    }


def config_arguments(options: KinesisOptions) -> dict[str, Any]:
    """
    Give a client's configuration: it tries once, as the courier does the rest.
    """
    seconds = options.timeout_ms / 1000
    return {
        "connect_timeout": seconds,
        "read_timeout": seconds,
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "user_agent_extra": "otel-llm",
    }


def _entry(place: int, record: Record, options: KinesisOptions) -> Entry:
    key = template.field(record.event, options.partition_key_field) or record.event.id
    return Entry(place, record.body, key[:KEY_CHARACTERS])


def _too_large(entry: Entry, limit: int) -> Rejected:
    return Rejected(f"{entry.size} bytes with its key, and record_bytes allows {limit}")


def _code(error: Exception) -> tuple[str, int]:
    if not isinstance(error, ClientError):
        return "", 0
    answer = error.response
    return answer.get("Error", {}).get("Code", ""), answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _reason(error: Exception, code: str, options: KinesisOptions) -> str:
    if isinstance(error, _NO_CREDENTIALS):
        return f"no credentials for Kinesis: {type(error).__name__}"
    place = _place(options)
    if code == "ResourceNotFoundException":
        return f"there is no stream {options.stream_name!r} at {place}"
    return f"{code} from {place}" if code else f"no answer from {place}: {facts(error)}"


def _place(options: KinesisOptions) -> str:
    return urlsplit(options.endpoint).hostname or options.region


CLIENT_ERRORS: Final = (BotoCoreError, ClientError)
"""What a client raises when a request went wrong."""

_NO_CREDENTIALS: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
_TOO_LARGE: Final = 413
_REJECTING: Final = frozenset({"InvalidArgumentException", "SerializationException", "ValidationException"})
_REFUSING: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
