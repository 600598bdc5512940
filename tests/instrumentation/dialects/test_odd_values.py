"""
Bodies of the right shape with one odd value, in every place: what no provider should send, and some gateway does.
"""

import contextlib
import json
from collections.abc import Iterator

import msgspec
import pytest
from otel_llm_instrumentation.dialects.anthropic import AnthropicMessages
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_completions import OpenAICompletions
from otel_llm_instrumentation.dialects.openai_embeddings import OpenAIEmbeddings
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

DIALECTS = (OpenAIChat(), OpenAIResponses(), OpenAIEmbeddings(), OpenAICompletions(), AnthropicMessages())

ODD = (None, True, -1, 2**70, 1.5, "", "x", [], [[]], {}, {"a": []}, [1], ["a"], [{}], {"type": []}, {"type": "text"})

CHAT = {
    "id": "1",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": [{"type": "text", "text": "x"}],
                "reasoning_content": "r",
                "refusal": None,
                "audio": {"data": "d", "transcript": "t"},
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
        "cost": 0.1,
    },
    "service_tier": "default",
    "error": {"message": "m", "code": "c", "type": "t"},
}
RESPONSE = {
    "id": "1",
    "model": "m",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "x"}],
        },
        {"type": "function_call", "call_id": "1", "name": "n", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"text": "t"}]},
        {"type": "web_search_call", "id": "1", "action": {"type": "search"}},
    ],
    "usage": {
        "input_tokens": 1,
        "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 1},
    },
    "incomplete_details": {"reason": "x"},
    "conversation": {"id": "1"},
}
MESSAGE = {
    "id": "1",
    "model": "m",
    "type": "message",
    "role": "assistant",
    "stop_reason": "end_turn",
    "content": [
        {"type": "text", "text": "x"},
        {"type": "tool_use", "id": "1", "name": "n", "input": {}},
        {"type": "thinking", "thinking": "t"},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
    ],
    "usage": {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_1h_input_tokens": 1, "ephemeral_5m_input_tokens": 2},
        "server_tool_use": {"web_search_requests": 1},
        "service_tier": "standard",
    },
}
EMBEDDINGS = {"model": "m", "data": [{"embedding": [1, 2], "index": 0}], "usage": {"prompt_tokens": 1}}
REQUEST = {
    "model": "m",
    "messages": [
        {
            "role": "user",
            "name": "n",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "image", "source": {"type": "base64", "data": "d", "media_type": "m"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ],
    "input": [
        {"type": "message", "role": "user", "content": "x"},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "web_search", "name": "n"}],
    "stop": ["a"],
    "response_format": {"type": "json_schema"},
    "text": {"format": {"type": "json_schema"}},
    "reasoning": {"effort": "low"},
    "system": [{"type": "text", "text": "s"}],
    "output_config": {"effort": "low", "format": {"type": "json"}},
    "metadata": {"user_id": "u"},
    "prompt": ["a", [1, 2]],
    "stream_options": {"include_usage": True},
    "conversation": {"id": "1"},
    "modalities": ["text", "audio"],
    "thinking": {"type": "enabled", "budget_tokens": 1},
}
TOOL = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
EVENTS = (
    {"model": "m", "choices": [{"index": 0, "delta": {"content": "x", "tool_calls": [TOOL]}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}},
    {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}, "output_index": 0},
    {"type": "response.output_text.delta", "delta": "x", "output_index": 0},
    {"type": "response.completed", "response": RESPONSE},
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)


def bodies(sound: object) -> Iterator[bytes]:
    """
    Give a sound body with each odd value in each place.
    """
    return (json.dumps(each).encode() for each in variants(sound))


def variants(sound: object) -> Iterator[object]:
    yield from ODD
    if isinstance(sound, dict):
        for key, value in sound.items():
            yield from ({**sound, key: each} for each in variants(value))
    if isinstance(sound, list):
        for at, value in enumerate(sound):
            yield from ([*sound[:at], each, *sound[at + 1 :]] for each in variants(value))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
class TestOneOddValue:
    @pytest.mark.parametrize(
        "sound", [CHAT, RESPONSE, MESSAGE, EMBEDDINGS], ids=["chat", "response", "message", "vectors"]
    )
    def test_in_an_answer(self, dialect, sound):
        """
        The answer is read, content and all, as far as it makes sense.
        """
        for body in bodies(sound):
            assert dialect.response(body, content=True) is not None

    def test_in_a_request(self, dialect):
        """
        The request and its prompt are read, or said to be no object of JSON.
        """
        for body in bodies(REQUEST):
            for read in (dialect.prompt, lambda body: dialect.request(body, "/v1/x"), dialect.asking_for_usage):
                with contextlib.suppress(msgspec.DecodeError):
                    read(body)

    @pytest.mark.parametrize("at", range(len(EVENTS)))
    def test_in_a_stream(self, dialect, at):
        """
        One odd event does not keep the others from being read.
        """
        before, after = ([json.dumps(each).encode() for each in part] for part in (EVENTS[:at], EVENTS[at + 1 :]))
        for odd in bodies(EVENTS[at]):
            reader = dialect.stream(content=True)
            for event in (*before, odd, *after):
                reader.feed(event, b"")
            assert reader.finish() is reader.response
