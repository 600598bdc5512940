"""
Each provider's usage, as its documentation or its traffic shows it, and what it means.
"""

import json
from decimal import Decimal

import pytest
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

from otel_llm.call import Usage


def chat(usage, **answer):
    body = {"id": "c1", "model": "m", "choices": [], "usage": usage, **answer}
    return OpenAIChat().response(json.dumps(body).encode(), content=False)


TABLE = {
    "openai": (
        {
            "prompt_tokens": 1117,
            "completion_tokens": 46,
            "total_tokens": 1163,
            "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 64, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
        },
        Usage(
            input_tokens=1117,
            output_tokens=46,
            cache_read_tokens=1024,
            cache_write_tokens=64,
            reasoning_tokens=30,
            audio_input_tokens=0,
            audio_output_tokens=0,
        ),
    ),
    "openai audio": (
        {
            "prompt_tokens": 120,
            "completion_tokens": 90,
            "prompt_tokens_details": {
                "cached_tokens": 70,
                "audio_tokens": 80,
                "text_tokens": 30,
                "image_tokens": 10,
                "cached_tokens_details": {"audio_tokens": 40, "text_tokens": 25, "image_tokens": 5},
            },
            "completion_tokens_details": {"audio_tokens": 60, "text_tokens": 30},
        },
        Usage(
            input_tokens=120,
            output_tokens=90,
            cache_read_tokens=70,
            audio_input_tokens=80,
            text_input_tokens=30,
            image_input_tokens=10,
            audio_cache_read_tokens=40,
            text_cache_read_tokens=25,
            image_cache_read_tokens=5,
            audio_output_tokens=60,
            text_output_tokens=30,
        ),
    ),
    "vllm": (
        {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "prompt_tokens_details": None},
        Usage(input_tokens=5, output_tokens=7),
    ),
    "deepseek": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
        Usage(input_tokens=100, output_tokens=20, cache_read_tokens=64, reasoning_tokens=12),
    ),
    "moonshot": (
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cached_tokens": 64},
        Usage(input_tokens=100, output_tokens=20, cache_read_tokens=64),
    ),
    "xai, reasoning beside the completion": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94),
    ),
    "perplexity deep research": (
        {
            "prompt_tokens": 33,
            "completion_tokens": 7395,
            "total_tokens": 7428,
            "reasoning_tokens": 73197,
            "num_search_queries": 28,
        },
        Usage(input_tokens=33, output_tokens=80592, reasoning_tokens=73197, web_searches=28),
    ),
    "openrouter with searches": (
        {"prompt_tokens": 9, "completion_tokens": 2, "server_tool_use": {"web_search_requests": 3}},
        Usage(input_tokens=9, output_tokens=2, web_searches=3),
    ),
    "one odd count": (
        {"prompt_tokens": "many", "completion_tokens": "7", "prompt_tokens_details": {"cached_tokens": 3}},
        Usage(output_tokens=7, cache_read_tokens=3),
    ),
    "zero is zero": (
        {"prompt_tokens": 0, "completion_tokens": 0},
        Usage(input_tokens=0, output_tokens=0),
    ),
}

COSTS = [
    ('{"cost": 0.00001234567890123456789}', Decimal("0.00001234567890123456789")),
    ('{"cost": 0}', Decimal(0)),
    ('{"cost": 0.01, "is_byok": true, "cost_details": {"upstream_inference_cost": 0.2}}', Decimal("0.21")),
    ('{"cost": 0.01, "is_byok": false, "cost_details": {"upstream_inference_cost": 0.01}}', Decimal("0.01")),
    ('{"cost": {"input_tokens_cost": 0.1, "total_cost": 0.006}}', Decimal("0.006")),
    ('{"cost_in_usd_ticks": 158500}', Decimal("0.0000158500")),
    ('{"prompt_tokens": 1}', None),
]


@pytest.mark.parametrize(("told", "expected"), TABLE.values(), ids=TABLE.keys())
def test_usage_in_every_spelling(told, expected):
    """
    Totals include their parts, absent stays absent, a reported zero stays zero.
    """
    assert chat(told).usage == expected


@pytest.mark.parametrize(("told", "expected"), COSTS)
def test_reported_cost_is_exact(told, expected):
    """
    What the provider says the call cost is kept to the last digit, in dollars.
    """
    body = f'{{"choices": [], "usage": {told}}}'.encode()
    assert OpenAIChat().response(body, content=False).reported_cost == expected


def test_groq_tells_usage_apart():
    """
    Where `usage` is missing, `x_groq.usage` counts.
    """
    assert chat(None, x_groq={"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}).usage == Usage(
        input_tokens=3, output_tokens=4
    )


def test_responses_count_the_searches_that_are_billed():
    """
    A web search counts; opening a page that it found does not.
    """
    items = [
        {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
        {"type": "web_search_call", "status": "completed", "action": {"type": "open_page"}},
    ]
    body = {"id": "resp_1", "status": "completed", "output": items, "usage": {"input_tokens": 5, "output_tokens": 1}}
    response = OpenAIResponses().response(json.dumps(body).encode(), content=False)
    assert response.usage == Usage(input_tokens=5, output_tokens=1, web_searches=1)
