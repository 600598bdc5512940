"""
What is captured of a provider SDK's call: one span, one record, one count of tokens, whatever way the call goes.
"""

import pytest
from outcomes import seen
from sdk_calls import (
    CALLS,
)

NATIVE = "com.anthropic.sdk.python"
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def told(record):
    """
    Give what a record says of how the call went.
    """
    return {
        "operation": record["gen_ai.operation.name"],
        "provider": record["gen_ai.provider.name"],
        "status": record["otel_llm.status"],
        "attempts": record["otel_llm.attempts"],
        "usage": (record.get("gen_ai.usage.input_tokens"), record.get("gen_ai.usage.output_tokens")),
        "source": record["otel_llm.usage_source"],
    }


def expected(call):
    usage = (1021, None if call.operation == "embeddings" else 37) if call.counted else (None, None)
    if call.cut_short and call.sdk == "anthropic":
        usage = (14, 1)
    return {
        "operation": call.operation,
        "provider": "anthropic" if call.sdk == "anthropic" else "openai",
        "status": call.status,
        "attempts": call.attempts,
        "usage": usage,
        "source": "absent" if usage == (None, None) else "provider",
    }


@both
@pytest.mark.parametrize("call", [call for call in CALLS if call.records], ids=str)
def test_call_is_recorded_as_what_it_was(call, asynchronous, server, telemetry):
    """
    Each call, whatever becomes of it, is one record with its outcome, its attempts and the provider's token counts.
    """
    seen(call, server, asynchronous=asynchronous)
    record = telemetry.record()
    spans = telemetry.spans(NATIVE if call.sdk == "anthropic" else "otel_llm")
    assert (told(record), len(spans), len(telemetry.spans())) == (expected(call), 1, 1)


@both
@pytest.mark.parametrize("call", [call for call in CALLS if not call.records], ids=str)
def test_other_requests_of_an_sdk_are_not_calls(call, asynchronous, server, telemetry):
    """
    A list of models or a count of tokens is no LLM call.
    """
    seen(call, server, asynchronous=asynchronous)
    assert (telemetry.records(), telemetry.spans("otel_llm")) == ([], [])
