"""
Kinesis: puts records into a data stream.

A request holds up to 500 records and `request_bytes`, partition keys included. Of a request that Kinesis took in part,
only the records that it did not take are sent again, and the requests after it go out all the same; with PutRecords
their order within a partition is therefore that of the journal only as long as nothing is throttled. A record that
is too large goes to the dead letters alone.

What becomes of a batch when Kinesis answers:

| answer | the records |
| --- | --- |
| entries with an error code, such as `ProvisionedThroughputExceededException` | are sent again, those alone |
| the request is not valid (`ValidationException` and the like), or too large | are halved; the one at fault is dead |
| credentials missing, expired or refused | wait, and are tried again at long intervals |
| no such stream, throttled as a whole, 5xx, no answer | are sent again |

Two clients serve, both installed by an extra: aiobotocore (`kinesis`), and boto3 in a thread of its own
(`kinesis-boto3`), for where another package holds botocore at a version that aiobotocore cannot take. aioboto3 is such
a package: it wraps an old aiobotocore, which takes a certificate that is another host's and is therefore not used.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import botocore  # noqa: F401 - what both clients stand on; where it is missing, so are they

from otel_llm.delivery.sink import BlockingSink, Sink
from otel_llm.delivery.template import FieldName
from otel_llm.errors import MissingExtra
from otel_llm.settings.conversion import Count, Unfit, read_size, read_text
from otel_llm.settings.secret import Secret

MOST_BYTES: Final = 10 * 1024**2
"""What PutRecords takes at most, keys included:
<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>."""


SAFE_AIOBOTOCORE: Final = (3, 9)


def read_limit(raw: object) -> int:
    """
    Read a number of bytes that Kinesis may take at once.
    """
    size = read_size(raw)
    if size > MOST_BYTES:
        raise Unfit("10 MiB at most, which is the limit of Kinesis")
    return size


def read_stream_name(raw: object) -> str:
    """
    Read the name of a stream.
    """
    name = read_text(raw)
    if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,128}", name):
        raise Unfit("a stream's name: up to 128 letters, digits, dots, dashes and underscores (no ARN)")
    return name


def read_region(raw: object) -> str:
    """
    Read the name of a region.
    """
    name = read_text(raw)
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise Unfit("a region such as eu-central-1")
    return name


def read_endpoint(raw: object) -> str:
    """
    Read the URL of a service.
    """
    url = read_text(raw)
    if not _is_url(url):
        raise Unfit("a URL such as http://localhost:4566")
    return url


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an address or a port that cannot be
        return False


Limit = Annotated[int, read_limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class KinesisOptions:
    """
    Options of the sink `kinesis`.

    ```yaml
    sinks:
      kinesis:
        stream_name: llm-calls
        region: eu-central-1
        partition_key_field: label.tenant_id
    ```

    ```yaml wrong
    sinks:
      kinesis: {region: eu-central-1}
    ```

    ```yaml wrong
    sinks:
      kinesis: {stream_name: "arn:aws:kinesis:eu-central-1:123456789012:stream/llm", region: eu-central-1}
    ```

    ```yaml wrong
    sinks:
      kinesis: {stream_name: llm-calls, region: Frankfurt am Main}
    ```

    ```yaml wrong
    sinks:
      kinesis: {stream_name: llm-calls, region: eu-central-1, access_key_id: AKIAEXAMPLE}
    ```

    ```yaml wrong
    sinks:
      kinesis: {stream_name: llm-calls, region: eu-central-1, partition_key_field: requestid}
    ```

    ```yaml wrong
    sinks:
      kinesis: {stream_name: llm-calls, region: eu-central-1, record_bytes: 32 MiB}
    ```

    ```yaml wrong
    sinks:
      kinesis: {stream_name: llm-calls, region: eu-central-1, ca_file: /etc/ssl/missing.pem}
    ```
    """

    stream_name: Annotated[str, read_stream_name]
    """The data stream that takes the records; it has to exist."""
    region: Annotated[str, read_region]
    """The region the stream is in."""
    access_key_id: str = ""
    """The access key, with `secret_access_key`. Without both, credentials are looked for where AWS clients do: in the
    environment, the shared files, the container's or the instance's role."""
    secret_access_key: Secret = Secret("")  # noqa: RUF009 - a Secret never changes
    """The secret of the access key."""
    session_token: Secret = Secret("")  # noqa: RUF009 - same
    """The token that belongs to a temporary access key."""
    endpoint: Annotated[str, read_endpoint] = ""
    """Another URL than that of AWS, such as LocalStack's `http://localhost:4566`."""
    ca_file: Path | None = None
    """PEM file of the authorities to trust instead of those that botocore brings."""
    partition_key_field: FieldName = "event_id"
    """The field whose value is the partition key: records with one key go to one shard. Where it is empty, the key is
    the event id, a UUID. A key is cut to 256 characters."""
    record_bytes: Limit = 1024**2
    """The largest record, with its key; a larger one goes to the dead letters. A stream takes 1 MiB unless its own
    limit was raised, to 10 MiB at most: <https://docs.aws.amazon.com/streams/latest/dev/large-records.html>."""
    request_bytes: Limit = 5 * 1024**2
    """The largest request, with all keys; 10 MiB at most. A record that is larger than this goes alone."""
    timeout_ms: Count = 30_000
    """How long to wait for a connection, and then for an answer, in milliseconds."""
    client: Literal["auto", "aiobotocore", "boto3"] = "auto"
    """The client library; `auto` takes aiobotocore from 3.9 on where it is installed, else boto3."""

    def __post_init__(self) -> None:
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("both access_key_id and secret_access_key, or neither")
        if self.session_token and not self.access_key_id:
            raise ValueError("access_key_id and secret_access_key beside session_token")
        if self.ca_file is not None and not self.ca_file.expanduser().is_file():
            raise ValueError("a file that exists in ca_file")


class KinesisSink:
    """
    Makes the sink of the client that `client` names.
    """

    Options = KinesisOptions

    def __new__(cls, options: KinesisOptions) -> Sink | BlockingSink:  # type: ignore[misc]
        return _SINKS[_client(options)](options)


def _client(options: KinesisOptions) -> str:
    if options.client != "auto":
        return options.client
    return "aiobotocore" if _has_safe_aiobotocore() else "boto3"


def _has_safe_aiobotocore() -> bool:
    """
    Whether it is installed and new enough: before 3.9 it takes a certificate that is another host's.
    """
    try:
        major, minor = metadata.version("aiobotocore").split(".")[:2]
    except metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= SAFE_AIOBOTOCORE


def _aiobotocore(options: KinesisOptions) -> Sink:
    if not _has_safe_aiobotocore():
        raise MissingExtra(
            "the kinesis sink needs its client (aiobotocore 3.9 or newer): pip install 'otel-llm[kinesis]'"
        )
    from otel_llm_exporters.kinesis_aiobotocore import AiobotocoreKinesis

    return AiobotocoreKinesis(options)


def _boto3(options: KinesisOptions) -> BlockingSink:
    try:
        from otel_llm_exporters.kinesis_boto3 import Boto3Kinesis
    except ImportError as error:
        raise MissingExtra("the kinesis sink needs its client: pip install 'otel-llm[kinesis-boto3]'") from error
    return Boto3Kinesis(options)


_SINKS: Final[Mapping[str, Callable[[KinesisOptions], Sink | BlockingSink]]] = {
    "aiobotocore": _aiobotocore,
    "boto3": _boto3,
}
