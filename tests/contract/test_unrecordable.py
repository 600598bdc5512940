"""
What we cannot record: a call over which our own code stumbles.
"""

import httpx2
import pytest

from otel_llm import pipeline
from otel_llm.capture.operation import Operation


def _stumble(*_args, **_more):
    raise ZeroDivisionError


@pytest.mark.parametrize("where", ["summing up", "pricing", "metrics"])
def test_span_is_ended(where, telemetry, server, monkeypatch):
    """
    The user has the answer, the span is ended, and what was known when the call started is recorded.
    """
    running = pipeline.current()
    part, name = {
        "summing up": (Operation, "call"),
        "pricing": (running.book, "price"),
        "metrics": (running._metrics, "record"),
    }[where]
    monkeypatch.setattr(part, name, _stumble)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx2.post(f"{server.openai_url}/chat/completions", json=body)

    assert (answer.status_code, len(answer.json()["choices"])) == (200, 1)
    (span,) = telemetry.spans("otel_llm")
    (record,) = telemetry.logs()
    assert span.name == "chat gpt-4o-mini"
    for attributes in (span.attributes, record.attributes):
        assert attributes["gen_ai.request.model"] == "gpt-4o-mini"
        assert ("gen_ai.response.id" in attributes) == (where == "metrics")
