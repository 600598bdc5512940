"""What the sinks on HTTP say when a server quotes the whole request: never a key."""

import base64
import time

import pytest
from hook_receiver import Answer, Receiver

from otel_llm import plugins
from otel_llm.delivery.sink import Batch, Record
from otel_llm.errors import OtelLLMError
from otel_llm.formats import otel
from otel_llm.settings import SinkSettings

KEY = "hush-hush-0123456789"
CREDENTIALS = [
    ("datadog", {"api_key": KEY}),
    ("newrelic", {"api_key": KEY}),
    ("splunk_hec", {"token": KEY}),
    ("loki", {"username": "shop", "password": KEY}),
    ("elasticsearch", {"api_key": KEY, "install_template": False}),
    ("elasticsearch", {"username": "shop", "password": KEY, "install_template": False}),
    ("elasticsearch", {"headers": {"X-Key": KEY}, "install_template": False}),
]


@pytest.mark.parametrize(("name", "options"), CREDENTIALS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("status", [400, 403, 404, 410])
async def test_an_echo(call, name, options, status):
    """An error page that quotes headers and body shows neither the key nor what stands for it."""
    event = call(time.time_ns(), otel_llm__secret="the quick brown fox jumps over the lazy dog")
    with Receiver() as receiver:
        receiver.default, receiver.echo = Answer(status), True
        sink = plugins.make_sink(SinkSettings("calls", name, {"url": receiver.url, "compression": "none", **options}))
        await sink.open()
        said = await _said(sink, Batch([Record(event, otel.encode(event))]))
        await sink.close()
    assert f"{status} " in said
    assert not [word for word in (KEY, base64.b64encode(f"shop:{KEY}".encode()).decode(), "lazy dog") if word in said]


async def _said(sink, batch):
    try:
        (outcome,) = (await sink.send(batch)).of(batch)
    except OtelLLMError as error:
        return str(error)
    return outcome.reason
