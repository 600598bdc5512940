"""Where sinks may post to."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery.http_address import is_metadata, read_url
from otel_llm.settings.conversion import Unfit


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1%eth0",
        "100.100.100.200",
        "168.63.129.16",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
    ],
)
def test_metadata(host):
    """Every way to write a metadata service is known for one."""
    assert is_metadata(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "example.com", "8.8.8.8"])
def test_others(host):
    """Other addresses, private ones too, are ordinary receivers."""
    assert not is_metadata(host)


@given(st.text())
def test_any_text(text):
    """Any text is a URL or is refused in our words; a URL is kept as it stands."""
    for candidate in (text, f"https://{text}", f"https://h/{text}"):
        with suppress(Unfit):
            assert read_url(candidate).reveal() == candidate.strip()
