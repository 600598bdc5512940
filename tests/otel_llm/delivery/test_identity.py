"""What makes a sink another sink, so that records that wait for one never reach the other."""

import pytest

from otel_llm.delivery.setup import sink_spec
from otel_llm.settings import SinkSettings


def key(**options):
    return sink_spec(SinkSettings("hooks", "webhook", {"url": "https://a.example/llm", **options})).key


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_ms": 9000},
        {"compression": "gzip"},
        {"headers": {"Authorization": "Bearer new"}},
        {"signing_secrets": "whsec_new"},
        {"max_conns_per_host": 3},
        {"ca_file": "authority.pem"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_same_sink(options):
    """How records travel, and with which credentials, may change while they wait."""
    assert key(**options) == key()


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://u:{}@h/db",
        "host=h password={} user=u",
        "host=h user=u password='{} \\' x'",
        "postgresql://h/u?password={}",
    ],
)
def test_password_in_a_connection_string(form):
    """A new password in a connection string leads to the same place, another role or database to another."""
    assert key(dsn=form.format("old")) == key(dsn=form.format("new"))
    assert key(dsn=form.replace("u", "v").format("old")) != key(dsn=form.format("old"))


@pytest.mark.parametrize("options", [{"url": "https://b.example/llm"}, {"body": "single"}], ids=["url", "body"])
def test_another_sink(options):
    """Records that wait for one destination do not go to another one, nor in a shape that it may not know."""
    assert key(**options) != key()
