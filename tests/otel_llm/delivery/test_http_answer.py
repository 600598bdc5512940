"""What an answer means, whatever stands in it."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery.http_answer import Answer, receipt
from otel_llm.delivery.sink import Receipt
from otel_llm.errors import ReceiverGone, Unauthorized


def retry_after(told, **headers):
    return Answer(503, {"retry-after": told, **headers}).retry_after


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("0", 0), ("120", 120), (" 1.5 ", 1.5), ("", None), ("soon", None), ("-1", None), ("nan", None)],
)
def test_seconds(told, seconds):
    """A number of seconds is taken as it stands; what is none says nothing."""
    assert retry_after(told) == seconds


def test_dates():
    """A date is a wait until then, none when it has passed, by the server's clock where it tells its own."""
    noon = datetime(2026, 1, 12, 12, tzinfo=UTC)
    told = format_datetime(noon, usegmt=True)
    assert retry_after(told, date=format_datetime(noon - timedelta(minutes=2), usegmt=True)) == 120
    assert retry_after(told, date=format_datetime(noon + timedelta(minutes=2), usegmt=True)) == 0
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < retry_after(later) <= 3600
    assert 3500 < retry_after(later.replace("GMT", "-0000")) <= 3600


@given(st.integers(100, 599), st.text(), st.text(), st.binary(max_size=2000), st.binary(max_size=2000))
def test_any_answer(status, told, date, body, sent):
    """Whatever a server answers is a receipt, or one of our errors, in one printable line."""
    answer = Answer(status, {"retry-after": told, "date": date}, body, "h", sent)
    with suppress(ReceiverGone, Unauthorized):
        assert isinstance(receipt(answer), Receipt)
    assert str(answer).isprintable()
    assert len(str(answer)) < 400


def test_quotation():
    """An answer that quotes what was sent is shown without it."""
    sent = b'[{"content":"the canary sings at midnight"}]'
    answer = Answer(400, {}, b'{"error":"bad input","input":{"content":"the canary sings at midnight"}}', "h", sent)
    assert str(answer) == '400 Bad Request from h: {"error":"bad input","input":[CONTENT]}'


def test_secrets():
    """An answer that quotes a secret is shown without it, the longest first."""
    answer = Answer(404, {}, b"Cannot POST /hook/abc123 for abc123", "h", b"", ("abc123", "/hook/abc123", "", "for"))
    assert str(answer) == "404 Not Found from h: Cannot POST [REDACTED] for [REDACTED]"
