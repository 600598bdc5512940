"""
Calls at whose telemetry nobody looks: their queue was full, or their exporter takes no attributes.
"""

import gc
import types

import httpx2
import pytest
from msgspec import Struct

import otel_llm
from otel_llm.telemetry import metrics
from otel_llm.testing import Reply

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


@pytest.mark.parametrize("characters", [100, 100_000])
def test_large_content_does_not_wait(telemetry, server, characters):
    """
    What was said waits to be read as long as it is short; a long prompt is told at once, and its bytes are let go.
    """
    otel_llm.configure(content="SPAN_AND_EVENT")
    body = BODY | {"messages": [{"role": "user", "content": "x" * characters}]}
    httpx2.post(f"{server.openai_url}/chat/completions", json=body)
    (record,) = telemetry.logs()
    assert isinstance(record.attributes, dict) == (characters > 64 * 1024)
    assert len(str(record.attributes["gen_ai.input.messages"])) > characters
    (span,) = telemetry.spans("otel_llm")
    assert len(span.attributes["gen_ai.input.messages"]) > characters


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.usefixtures("telemetry")
def test_prompts_do_not_wait_with_the_metrics(server, stream):
    """
    A call that waits to be measured holds neither prompt nor answer.
    """
    otel_llm.configure(content="SPAN_AND_EVENT")
    server.default = Reply(text="canary-answer")
    body = BODY | {"messages": [{"role": "user", "content": "canary-prompt"}], "stream": stream}
    answer = httpx2.post(f"{server.openai_url}/chat/completions", json=body)
    assert answer.text
    assert [text for text in _texts(metrics._waiting[-1][1]) if "canary" in text] == []


_ELSEWHERE = type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType


def _texts(root):
    """
    Give every text that an object leads to.
    """
    seen, found, left = set(), [], [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, _ELSEWHERE):
            continue
        seen.add(id(each))
        if isinstance(each, str | bytes):
            found.append(str(each))
        left += gc.get_referents(each)
        if isinstance(each, Struct):  # those that the collector is spared refer to nothing
            left += [getattr(each, field) for field in each.__struct_fields__]
    return found
