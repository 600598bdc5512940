import json

import pytest
from otel_llm_instrumentation.dialects.anthropic import AnthropicMessages

from otel_llm.call import Parameters, Usage
from otel_llm.capture.dialect import CONTENT, DONE, NOTHING

ANTHROPIC = AnthropicMessages()


def event(kind, **fields):
    return json.dumps({"type": kind, **fields}).encode()


def read(**fields):
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], **fields}
    return ANTHROPIC.response(json.dumps(body).encode(), content=True)


def start(usage):
    return event("message_start", message={"id": "msg_1", "model": "claude", "usage": usage})


class TestRequest:
    def test_what_is_asked_for(self):
        """
        Anthropic's spelling of each parameter is understood.
        """
        body = {
            "model": "claude",
            "messages": [],
            "max_tokens": 9,
            "top_k": 5,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u1"},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "output_config": {"effort": "high", "format": {"type": "json_schema"}},
        }
        asked = ANTHROPIC.request(json.dumps(body).encode(), "/v1/messages")
        assert (asked.user_id, asked.parameters) == (
            "u1",
            Parameters(max_tokens=9, top_k=5, stop_sequences=("END",), reasoning_level="high", output_type="json"),
        )


class TestUsage:
    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            (
                {
                    "input_tokens": 34,
                    "cache_read_input_tokens": 128,
                    "cache_creation_input_tokens": 60,
                    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 40},
                    "output_tokens": 84,
                    "output_tokens_details": {"thinking_tokens": 12},
                    "server_tool_use": {"web_search_requests": 2},
                },
                Usage(
                    input_tokens=222,
                    output_tokens=84,
                    cache_read_tokens=128,
                    cache_write_tokens=60,
                    cache_write_1h_tokens=40,
                    reasoning_tokens=12,
                    web_searches=2,
                ),
            ),
            (
                {"input_tokens": 0, "cache_read_input_tokens": None, "output_tokens": 0},
                Usage(input_tokens=0, output_tokens=0),
            ),
            ({"output_tokens": 3}, Usage(output_tokens=3)),
        ],
    )
    def test_input_is_the_total(self, told, expected):
        """
        What the cache took part in belongs to the input, though Anthropic counts it apart.
        """
        assert read(usage=told).usage == expected

    @pytest.mark.parametrize(
        ("told", "expected"),
        [("standard", "standard"), ("priority", "priority"), ("batch", "batch")],
    )
    def test_the_tier_that_answered(self, told, expected):
        """
        The service tier is told as it is.
        """
        assert read(usage={"service_tier": told, "speed": "standard"}).service_tier == expected

    def test_fast_mode_is_a_tier(self):
        """
        Fast mode has prices of its own, so it is told in place of the tier.
        """
        assert read(usage={"service_tier": "standard", "speed": "fast"}).service_tier == "fast"


class TestFinishReason:
    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("tool_use", "tool_call"),
            ("refusal", "refusal"),
            ("pause_turn", "pause_turn"),
        ],
    )
    def test_reasons_in_the_words_of_the_conventions(self, told, expected):
        """
        Reasons that the conventions know have their names, the others their own.
        """
        assert read(stop_reason=told).finish_reasons == (expected,)


class TestStream:
    def test_events_are_told_apart(self):
        """
        Deltas and tool calls are content, `message_stop` is the end.
        """
        reader = ANTHROPIC.stream(content=False)
        sent = [
            start({"input_tokens": 3, "output_tokens": 1}),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
            event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"}),
            event("content_block_start", index=1, content_block={"type": "tool_use", "id": "t1", "name": "f"}),
            event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
            event("message_stop"),
        ]
        told = [reader.feed(data, b"") for data in sent]
        assert told == [NOTHING, NOTHING, NOTHING, CONTENT, CONTENT, NOTHING, DONE]
        assert reader.finish().finish_reasons == ("tool_call",)

    def test_cumulative_usage_replaces(self):
        """
        The last word on each count holds; a count that is not told again stays.
        """
        reader = ANTHROPIC.stream(content=False)
        first = {
            "input_tokens": 34,
            "cache_read_input_tokens": 128,
            "cache_creation_input_tokens": 60,
            "cache_creation": {"ephemeral_1h_input_tokens": 60},
            "output_tokens": 1,
            "service_tier": "standard",
        }
        reader.feed(start(first), b"")
        reader.feed(event("message_delta", delta={}, usage={"output_tokens": 50}), b"")
        reader.feed(event("message_delta", delta={}, usage={"input_tokens": 40, "output_tokens": 84}), b"")
        response = reader.finish()
        assert (response.service_tier, response.usage) == (
            "standard",
            Usage(
                input_tokens=228,
                output_tokens=84,
                cache_read_tokens=128,
                cache_write_tokens=60,
                cache_write_1h_tokens=60,
            ),
        )

    def test_an_error_ends_the_stream(self):
        """
        An error in the middle is told, and the missing reason is an error.
        """
        reader = ANTHROPIC.stream(content=False)
        reader.feed(start({"input_tokens": 3}), b"")
        told = reader.feed(event("error", error={"type": "overloaded_error", "message": "Overloaded"}), b"")
        response = reader.finish()
        assert (told, response.error_type, response.finish_reasons) == (DONE, "overloaded_error", ("error",))

    def test_blocks_are_put_together(self, valid):
        """
        Deltas of thinking, text and tool input become the blocks they were cut from.
        """
        reader = ANTHROPIC.stream(content=True)
        for data in (
            start({}),
            event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
            event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
            event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "x"}),
            event("content_block_start", index=1, content_block={"type": "text", "text": "H"}),
            event("content_block_delta", index=1, delta={"type": "text_delta", "text": "i"}),
            event(
                "content_block_start", index=2, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}
            ),
            event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"a"'}),
            event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": ": 1}"}),
            event("message_delta", delta={"stop_reason": "tool_use"}),
        ):
            reader.feed(data, b"")
        assert valid("output-messages", reader.finish().output_messages) == [
            {
                "role": "assistant",
                "finish_reason": "tool_call",
                "parts": [
                    {"type": "reasoning", "content": "hm"},
                    {"type": "text", "content": "Hi"},
                    {"type": "tool_call", "id": "t", "name": "f", "arguments": {"a": 1}},
                ],
            }
        ]


def test_prompt(valid):
    """
    System text, media, tool results and the provider's own tools are told in the shapes of the message schemas.
    """
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    body = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What?"}, image]},
            {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s1", "name": "web_search"}, found]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"}]},
        ],
        "tools": [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}],
    }
    prompt = ANTHROPIC.prompt(json.dumps(body).encode())

    assert valid("system-instructions", prompt.system_instructions) == [{"type": "text", "content": "Be brief."}]
    assert valid("tool-definitions", prompt.tool_definitions) == [
        {"type": "function", "name": "f"},
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    messages = valid("input-messages", prompt.input_messages)
    assert [[part["type"] for part in message["parts"]] for message in messages] == [
        ["text", "blob"],
        ["server_tool_call", "server_tool_call_response"],
        ["tool_call_response"],
    ]
