"""
Calls at whose telemetry nobody looks: their queue was full, or their exporter takes no attributes.
"""

import gc

import httpx2
import pytest

from otel_llm.telemetry import metrics

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def garbage():
    """Collect what only the garbage collector frees, instead of freeing it."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()


@pytest.mark.parametrize("path", ["/chat/completions", "/missing"])
def test_what_waits_needs_no_garbage_collector(telemetry, server, garbage, path):
    """
    What is kept of a call to tell of it later is part of no cycle.
    """
    httpx2.post(f"{server.openai_url}{path}", json=BODY)
    assert len(telemetry.spans("otel_llm")) == (path == "/chat/completions")
    telemetry._spans.clear()
    telemetry._logs.clear()
    metrics._waiting.clear()
    gc.collect()
    assert {type(each) for each in garbage if type(each).__module__.startswith("otel_llm")} == set()


def test_an_error(telemetry, garbage):
    """
    Nor is what is kept of a call that failed.
    """
    with pytest.raises(httpx2.ConnectError):
        httpx2.post("http://127.0.0.1:1/v1/chat/completions", json=BODY)
    (span,) = telemetry.spans("otel_llm")
    assert not span.status.is_ok
    del span
    telemetry._spans.clear()
    telemetry._logs.clear()
    metrics._waiting.clear()
    gc.collect()
    assert {type(each) for each in garbage if type(each).__module__.startswith("otel_llm")} == set()
