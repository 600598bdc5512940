import json

import pytest
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_completions import OpenAICompletions

from otel_llm.call import Parameters, Usage
from otel_llm.capture.dialect import CONTENT, DONE, NOTHING

CHAT = OpenAIChat()


def request(path="/v1/chat/completions", **body):
    return CHAT.request(json.dumps({"model": "gpt-4o", "messages": [], **body}).encode(), path)


def chunk(*choices, **more):
    return json.dumps({"id": "c1", "model": "gpt-4o-2024", "choices": choices, **more}).encode()


def delta(index=0, reason=None, **fields):
    return {"index": index, "delta": fields, "finish_reason": reason}


class TestRequest:
    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({"max_tokens": 5, "max_completion_tokens": 7}, Parameters(max_tokens=7)),
            ({"max_tokens": 5}, Parameters(max_tokens=5)),
            ({"stop": "END"}, Parameters(stop_sequences=("END",))),
            ({"stop": ["a", "b"]}, Parameters(stop_sequences=("a", "b"))),
            ({"n": 2}, Parameters(choice_count=2)),
            ({"n": 1, "service_tier": "auto"}, Parameters()),
            ({"service_tier": "flex"}, Parameters(service_tier="flex")),
            ({"reasoning_effort": "low"}, Parameters(reasoning_level="low")),
            ({"reasoning": {"effort": "high"}}, Parameters(reasoning_level="high")),
            ({"response_format": {"type": "json_schema", "json_schema": {}}}, Parameters(output_type="json")),
            ({"response_format": {"type": "text"}}, Parameters(output_type="text")),
            ({"modalities": ["text", "audio"]}, Parameters(output_type="speech")),
            ({"temperature": 1, "top_p": 0.5, "seed": 7}, Parameters(temperature=1.0, top_p=0.5, seed=7)),
            ({"seed": "seven", "temperature": 0.3}, Parameters(temperature=0.3)),
            ({"seed": "7", "stop": [1, "a"]}, Parameters(seed=7, stop_sequences=("a",))),
        ],
    )
    def test_parameters(self, asked, expected):
        """
        What was asked for is told once, defaults are not, and an odd value takes nothing else with it.
        """
        assert request(**asked).parameters == expected

    def test_the_user_is_told(self):
        """
        `user`, or the newer `safety_identifier`, is whom the call was made for.
        """
        assert (request(user="u1").user_id, request(safety_identifier="s1").user_id) == ("u1", "s1")

    def test_azure_names_the_deployment_in_the_path(self):
        """
        A body without a model is answered by the deployment of its path.
        """
        asked = CHAT.request(b'{"messages": []}', "/openai/deployments/prod-4o/chat/completions")
        assert asked.model == "prod-4o"


class TestStream:
    def test_frames_are_told_apart(self):
        """
        Output is content, everything else is not, and `[DONE]` ends the answer.
        """
        reader = CHAT.stream(content=False)
        sent = [
            json.dumps({"id": "", "model": "", "choices": [], "prompt_filter_results": []}).encode(),
            chunk(delta(role="assistant", content="")),
            chunk(delta(reasoning_content="hm")),
            chunk(delta(content="Hello")),
            chunk(delta(tool_calls=[{"index": 0, "id": "t1", "function": {"name": "f", "arguments": ""}}])),
            chunk(delta(refusal="no")),
            chunk(delta(content=[{"type": "thinking", "thinking": []}])),
            chunk(delta(reason="stop")),
            b"[DONE]",
        ]
        assert [reader.feed(data, b"") for data in sent] == [
            NOTHING,
            NOTHING,
            CONTENT,
            CONTENT,
            CONTENT,
            CONTENT,
            CONTENT,
            NOTHING,
            DONE,
        ]

    def test_reasons_come_in_the_order_of_the_choices(self):
        """
        Each choice has its reason, whichever ended first; one that never ended is an error.
        """
        reader = CHAT.stream(content=False)
        for data in (chunk(delta(2, content="c")), chunk(delta(1, "length")), chunk(delta(0, "stop"))):
            reader.feed(data, b"")
        assert reader.finish().finish_reasons == ("stop", "length", "error")

    def test_cumulative_usage_replaces(self):
        """
        Of usage told several times the last counts, and later chunks never blank what was known.
        """
        reader = CHAT.stream(content=False)
        reader.feed(
            chunk(delta(content="a"), usage={"prompt_tokens": 3, "completion_tokens": 1}, service_tier="flex"), b""
        )
        reader.feed(chunk(delta(reason="stop"), usage={"prompt_tokens": 3, "completion_tokens": 2}), b"")
        reader.feed(b'{"choices": [], "usage": null}', b"")
        response = reader.finish()
        assert (response.usage, response.service_tier) == (Usage(input_tokens=3, output_tokens=2), "flex")

    def test_usage_of_groq(self):
        """
        Groq tells usage beside the last choice.
        """
        reader = CHAT.stream(content=False)
        reader.feed(chunk(delta(content="a"), x_groq={"id": "r1"}), b"")
        reader.feed(chunk(delta(reason="stop"), x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 2}}), b"")
        assert reader.finish().usage == Usage(input_tokens=3, output_tokens=2)

    def test_an_error_ends_the_stream(self):
        """
        An error in the middle is told, with what came before it.
        """
        reader = CHAT.stream(content=False)
        reader.feed(chunk(delta(content="a")), b"")
        told = reader.feed(b'{"error": {"code": "server_error", "message": "overloaded"}}', b"")
        response = reader.finish()
        assert (told, response.error_type, response.model) == (DONE, "server_error", "gpt-4o-2024")


class TestContent:
    def test_prompt(self, valid):
        """
        Text, media, tool calls and their results are told in the shapes of the message schemas.
        """
        messages = [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "file_1"}},
                    {"type": "unheard_of"},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "a cat"},
        ]
        tools = [{"type": "function", "function": {"name": "look", "description": "d", "parameters": {}}}]
        prompt = CHAT.prompt(json.dumps({"messages": messages, "tools": tools}).encode())

        assert valid("tool-definitions", prompt.tool_definitions) == [{"type": "function", "name": "look"}]
        assert valid("input-messages", prompt.input_messages) == [
            {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
            {
                "role": "user",
                "name": "ann",
                "parts": [
                    {"type": "text", "content": "What is this?"},
                    {"type": "uri", "modality": "image", "uri": "https://x.test/a.png"},
                    {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "AAAA"},
                    {"type": "blob", "mime_type": "audio/wav", "modality": "audio", "content": "BBBB"},
                    {"type": "file", "modality": "document", "file_id": "file_1"},
                ],
            },
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "t1", "name": "look", "arguments": {"at": 1}}],
            },
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t1", "response": "a cat"}]},
        ]

    def test_a_stream_is_put_together(self, valid):
        """
        Deltas of text, reasoning and interleaved tool calls become the messages they were cut from.
        """
        reader = CHAT.stream(content=True)
        call = {"index": 1, "id": "t2", "function": {"name": "g", "arguments": "{}"}}
        for data in (
            chunk(delta(reasoning_content="let me")),
            chunk(delta(reasoning_content=" see")),
            chunk(delta(content="Hel")),
            chunk(delta(content="lo")),
            chunk(delta(tool_calls=[{"index": 0, "id": "t1", "function": {"name": "f", "arguments": '{"a"'}}])),
            chunk(delta(tool_calls=[call, {"index": 0, "function": {"arguments": ": 1}"}}])),
            chunk(delta(reason="tool_calls")),
        ):
            reader.feed(data, b"")

        [message] = valid("output-messages", reader.finish().output_messages)
        assert message == {
            "role": "assistant",
            "finish_reason": "tool_call",
            "parts": [
                {"type": "reasoning", "content": "let me see"},
                {"type": "text", "content": "Hello"},
                {"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}},
                {"type": "tool_call", "id": "t2", "name": "g", "arguments": {}},
            ],
        }

    def test_nothing_is_kept_unasked(self):
        """
        Without content capture no answer is kept, whole or streamed.
        """
        reader = CHAT.stream(content=False)
        reader.feed(chunk(delta(content="secret", reason="stop")), b"")
        assert "secret" not in repr(reader.finish())


class TestLegacyCompletions:
    def test_text_is_content(self):
        """
        The older format streams `text` instead of deltas.
        """
        reader = OpenAICompletions().stream(content=True)
        told = reader.feed(chunk({"index": 0, "text": "Hi", "finish_reason": "stop"}), b"")
        assert (told, reader.finish().output_messages) == (
            CONTENT,
            [{"role": "assistant", "parts": [{"type": "text", "content": "Hi"}], "finish_reason": "stop"}],
        )
