"""
Calls and costs with every field set, or with none that need not be.
"""

from decimal import Decimal

import msgspec
import pytest

from otel_llm.call import (
    Attempt,
    Call,
    Identity,
    KeyRef,
    Parameters,
    RateLimit,
    ResponseCache,
    Usage,
)
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry.account import Bill

BARE = Call(
    operation="chat",
    provider="openai",
    api="openai_chat",
    started_ns=1_700_000_000_000_000_000,
    duration_ns=2_000_000_000,
    status="success",
)


@pytest.fixture
def make_call():
    """
    Give a call of which only what is named, and what every call has, is known.
    """
    return lambda **known: msgspec.structs.replace(BARE, **known)


@pytest.fixture
def full_call(make_call):
    """
    Give a streamed call of which everything is known; each count is another number.
    """
    return make_call(
        request_model="gpt-4o",
        response_model="gpt-4o-2024-08-06",
        response_id="chatcmpl-1",
        response_status="completed",
        stream=True,
        server_address="api.openai.com",
        server_port=443,
        path="/v1/chat/completions",
        request_bytes=100,
        response_bytes=200,
        first_byte_ns=100_000_000,
        first_chunk_ns=500_000_000,
        chunk_interval_ns=20_000_000,
        usage=Usage(**{name: count for count, name in enumerate(Usage.__struct_fields__, start=1)}),
        usage_source="provider",
        parameters=Parameters(
            max_tokens=100,
            temperature=0.0,
            top_p=0.9,
            top_k=40,
            frequency_penalty=0.5,
            presence_penalty=0.25,
            seed=42,
            choice_count=2,
            stop_sequences=("END",),
            reasoning_level="low",
            output_type="json",
            service_tier="flex",
            encoding_formats=("float",),
            embedding_dimensions=8,
            previous_response_id="resp_0",
            stream_cursor="7",
        ),
        service_tier="default",
        system_fingerprint="fp_1",
        finish_reasons=("stop", "length"),
        attempts=(
            Attempt(1, 300_000_000, 429, "req_1", 0.5, None),
            Attempt(2, 400_000_000, None, None, None, "ConnectError"),
            Attempt(3, 900_000_000, 200, "req_3"),
        ),
        http_status=200,
        request_id="req_3",
        rate_limit=RateLimit(1, 2, "3s", 4, 5, "6s"),
        labels={"team": "search"},
        identity=Identity("u", "s", "c", "p", "project", "o", "e"),
        key=KeyRef("k", "main", "ab" * 32, "vk", "virtual"),
        cache=ResponseCache(
            hit=False,
            type="semantic",
            store="redis",
            similarity=0.5,
            threshold=0.9,
            embedding_provider="openai",
            embedding_model="text-embedding-3-small",
            embedding_input_tokens=7,
        ),
        parent_request_id="req_0",
        fallback_index=1,
        route_alias="fast",
    )


@pytest.fixture
def full_cost():
    """
    Give a cost of which every part is another amount.
    """
    parts = ("input", "output", "cache_read", "cache_write", "reasoning", "audio", "image", "tools", "requests")
    amounts = {part: Decimal(number) / 1000 for number, part in enumerate((*parts, "embedding", "discount"), start=1)}
    return Cost(total=Decimal("0.055"), source="book", price_version="genai-prices 0.2.3", **amounts)


@pytest.fixture
def bill():
    """
    Give the bill of a call whose cost is known.
    """
    return lambda call, cost: Bill(lambda: call, lambda _call: cost)
