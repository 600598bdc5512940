import errno
import http.client
import socket
import sqlite3
import ssl
import urllib.error
from dataclasses import dataclass, field

import pytest

from otel_llm.delivery.diagnosis import MOST_CHARACTERS, Diagnosis, facts, place
from otel_llm.delivery.sink import Record
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.settings.secret import Secret

CANARY = "canary-of-the-prompt-71"


def raised(function, kind=Exception):
    with pytest.raises(kind) as caught:
        function()
    return caught.value


@dataclass(frozen=True)
class Options:
    password: Secret
    headers: dict[str, Secret] = field(default_factory=dict)
    host: str = "db.example.com"


class KeepingSink:
    def __init__(self, options: Options) -> None:
        self._options = options


class TestFacts:
    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (ValueError(CANARY), "ValueError"),
            (KeyError(CANARY), "KeyError"),
            (ConnectionRefusedError(errno.ECONNREFUSED, CANARY), "ConnectionRefusedError: Connection refused"),
            (OSError(errno.ENOSPC, CANARY, CANARY), "OSError: No space left on device"),
            (OSError(CANARY), "OSError"),
            (socket.gaierror(-2, CANARY), "gaierror: the name cannot be resolved"),
            (http.client.BadStatusLine(CANARY), "BadStatusLine"),
            (urllib.error.HTTPError(f"https://h/{CANARY}", 503, CANARY, http.client.HTTPMessage(), None), "status 503"),
        ],
    )
    def test_standard_library(self, error, told):
        """Of an exception its class, its code and the system's own words are told, and nothing it says itself."""
        assert told in facts(error)
        assert "canary" not in facts(error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()

    def test_sqlite(self):
        """A database's error is told by its code."""
        connection = sqlite3.connect(":memory:")
        error = raised(lambda: connection.execute(f"SELECT '{CANARY}' FROM nothing"), sqlite3.Error)
        connection.close()
        assert facts(error) == "OperationalError: SQLITE_ERROR"

    def test_tls(self):
        """A refused certificate is told by its reason."""
        error = ssl.SSLCertVerificationError(1, CANARY)
        error.reason = "CERTIFICATE_VERIFY_FAILED"
        assert facts(error) == "SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED"

    def test_httpx(self):
        """An HTTP client's exception tells status and host, and neither path nor query."""
        httpx2 = pytest.importorskip("httpx2")
        request = httpx2.Request("POST", f"https://user:{CANARY}@hooks.example.com/{CANARY}?key={CANARY}")
        response = httpx2.Response(502, request=request, text=CANARY)
        error = raised(response.raise_for_status, httpx2.HTTPStatusError)
        assert facts(error) == "HTTPStatusError from hooks.example.com: status 502"
        assert facts(httpx2.ReadError(CANARY)) == "ReadError"

    def test_botocore(self):
        """An AWS client's exception tells the service's code."""
        exceptions = pytest.importorskip("botocore.exceptions")
        answer = {"Error": {"Code": "Throttled", "Message": CANARY}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        assert facts(exceptions.ClientError(answer, "PutRecords")) == "ClientError: status 400, Throttled"

    def test_causes(self):
        """What lies behind is told, too: clients wrap the system's errors."""

        def connect():
            try:
                raise ConnectionResetError(errno.ECONNRESET, CANARY)
            except OSError as error:
                raise RuntimeError(CANARY) from error

        assert facts(raised(connect)) == "RuntimeError: Connection reset by peer"

    def test_properties_that_raise(self):
        """An exception whose properties raise is told by its class."""

        class AwkwardError(Exception):
            @property
            def response(self):
                raise RuntimeError(CANARY)

            request = host = status = response

        assert facts(AwkwardError()) == "AwkwardError"

    def test_place(self):
        """A failure of our own is told by its place."""
        assert place(raised(lambda: int(CANARY))).startswith("ValueError at test_diagnosis.py:")
        assert place(ValueError(CANARY)) == "ValueError"


class TestOwnWords:
    def test_as_they_are(self, make_event):
        """What a sink says itself is shown."""
        record = Record(make_event(1), b"{}")
        assert (
            Diagnosis().of(Unauthorized("401 Unauthorized from kafka-1"), [record]) == "401 Unauthorized from kafka-1"
        )

    def test_no_words(self):
        """A sink that says nothing is told by its error's class."""
        assert Diagnosis().of(NotDelivered()) == "NotDelivered"

    def test_secrets(self):
        """The sink's secrets are masked wherever they stand, also those inside of its options."""
        diagnosis = Diagnosis()
        diagnosis.learn_secrets(KeepingSink(Options(Secret("swordfish"), {"x-token": Secret("hunter2-2")})))
        told = diagnosis.of(NotDelivered("login bob:swordfish with hunter2-2 failed at db.example.com"))
        assert told == "login bob:[REDACTED] with [REDACTED] failed at db.example.com"

    def test_secrets_of_a_part(self):
        """So are those that a part of the sink keeps, and the URL itself where it is one."""
        webhook = pytest.importorskip("otel_llm_exporters.webhook")
        url, token = "https://hooks.example.com/t0ken", "hunter2-of-a-header"
        options = webhook.WebhookOptions(url=Secret(url), headers={"x-token": Secret(token)})
        diagnosis = Diagnosis()
        diagnosis.learn_secrets(webhook.WebhookSink(options))
        assert diagnosis.clean(f"x-token {token} at {url}") == "x-token [REDACTED] at [REDACTED]"

    def test_sinks_without_attributes(self):
        """A sink that keeps nothing has no secrets."""
        diagnosis = Diagnosis()
        diagnosis.learn_secrets(object())
        assert diagnosis.clean("all well") == "all well"

    def test_shapes_of_credentials(self):
        """What looks like a credential is masked, whoever says it."""
        assert "abcdef" not in Diagnosis().clean("Authorization: Bearer abcdefghijklmnop")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://hooks.example.com/services/T0/B0/s3cr3t", "https://hooks.example.com"),
            ("postgres://user:s3cr3t@db:5432/calls", "postgres://db:5432"),
            ("https://h?sig=s3cr3t", "https://h"),
        ],
    )
    def test_urls(self, url, shown):
        """Of a URL scheme and host are shown."""
        assert Diagnosis().clean(f"cannot post to '{url}' now") == f"cannot post to '{shown}' now"

    def test_quotations(self, make_event):
        """What an error quotes of the records is left out."""
        record = Record(make_event(1), b'{"prompt": "my grandmother\'s maiden name is Smith"}')
        told = Diagnosis().of(NotDelivered("cannot map 'grandmother's maiden name' to long"), [record])
        assert told == "cannot map '[CONTENT]' to long"

    def test_length(self):
        """Only the beginning of a long story is kept, on one line."""
        told = Diagnosis().clean("a b\n" * 10_000)
        assert len(told) <= MOST_CHARACTERS
        assert "\n" not in told
