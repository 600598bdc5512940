"""
What recorded traffic of the providers says is what the dialects tell, to the token.

The expectations are read from the bodies by plain means of their own, not by the code under test.
"""

import json
import re
from typing import Any

from otel_llm_instrumentation.dialects.anthropic import AnthropicMessages
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_embeddings import OpenAIEmbeddings
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

DIALECTS = (OpenAIChat(), OpenAIResponses(), OpenAIEmbeddings(), AnthropicMessages())


def dialect_for(recording):
    method = "POST" if recording.request else "GET"
    path = recording.path.partition("?")[0]
    [dialect] = [
        dialect
        for dialect in DIALECTS
        for route in dialect.routes
        if route.method == method and re.search(f"(?:{route.path})$", path)
    ]
    return dialect


def read(recording, replay, *, content=False):
    dialect = dialect_for(recording)
    if recording.streamed:
        return replay(dialect.stream(content=content), recording.answer)
    return dialect.response(recording.answer, content=content)


def bodies(recording) -> list[dict[str, Any]]:
    if not recording.streamed:
        return [json.loads(recording.answer)]
    payloads = re.findall(rb"^data: (\{.*)$", recording.answer, re.MULTILINE)
    return [json.loads(payload) for payload in payloads]


def usages(value):
    """
    Find every usage object, however deep.
    """
    if isinstance(value, list):
        return [usage for item in value for usage in usages(item)]
    if not isinstance(value, dict):
        return []
    inner = [usage for key, item in value.items() if key != "usage" for usage in usages(item)]
    return [value["usage"], *inner] if value.get("usage") else inner


def last(recording, *names):
    """
    Give the last count of any of these names in the recorded usage, None when it never came.
    """
    found = None
    for usage in usages(bodies(recording)):
        for name in names:
            value = usage
            for key in name.split("."):
                value = (value or {}).get(key)
            found = value if value is not None else found
    return found


class TestOpenAI:
    def test_tokens_equal_the_usage_in_the_body(self, openai_recording, replay):
        """
        Input, output, cached and reasoning tokens are the recorded ones; what the body does not tell is None.
        """
        recorded = openai_recording
        usage = read(recorded, replay).usage

        told = usage and (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.reasoning_tokens)
        expected = (
            last(recorded, "prompt_tokens", "input_tokens"),
            last(recorded, "completion_tokens", "output_tokens"),
            last(recorded, "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
            last(recorded, "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
        )
        assert expected == (told or (None, None, None, None))

    def test_the_answer_names_itself(self, openai_recording, replay):
        """
        Model and id are those of the body; an error has a code and no model.
        """
        recorded = openai_recording
        response = read(recorded, replay)

        body = bodies(recorded)[-1]
        body = body.get("response", body)
        error = body.get("error") or {}
        assert (body.get("id"), body.get("model"), error.get("code"), error.get("message")) == (
            response.id,
            response.model,
            response.error_type,
            response.error_message,
        )

    def test_requests_are_recognised(self, openai_recording):
        """
        Every recorded request has its dialect's shape, and its model.
        """
        recorded = openai_recording
        request = dialect_for(recorded).request(recorded.request, recorded.path)

        asked = json.loads(recorded.request or b"{}")
        assert (True, asked.get("model"), recorded.streamed) == (request.recognised, request.model, request.stream)

    def test_content_is_valid(self, openai_recording, replay, valid):
        """
        Prompts and answers fit the message schemas.
        """
        recorded = openai_recording
        prompt = dialect_for(recorded).prompt(recorded.request)
        response = read(recorded, replay, content=True)

        assert valid("input-messages", prompt.input_messages or []) is not None
        assert valid("system-instructions", prompt.system_instructions or []) is not None
        assert valid("tool-definitions", prompt.tool_definitions or []) is not None
        assert valid("output-messages", response.output_messages or []) is not None

    def test_output_is_told_when_there_is_some(self, openai_recording, replay):
        """
        Every answer that generated something has output messages with parts.
        """
        recorded = openai_recording
        response = read(recorded, replay, content=True)

        told = all(message["parts"] for message in response.output_messages or [])
        generated = bool(last(recorded, "completion_tokens", "output_tokens"))
        assert (generated, True) == (bool(response.output_messages), told)


class TestAnthropic:
    def test_tokens_equal_the_usage_in_the_body(self, anthropic_recording, replay):
        """
        The total input is what Anthropic reports in three numbers; output is the last word of a stream.
        """
        recorded = anthropic_recording
        usage = read(recorded, replay).usage

        parts = [
            last(recorded, name)
            for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
        ]
        told = usage and (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens)
        expected = (sum(part or 0 for part in parts[:3]), *parts[1:]) if any(parts) else None
        assert expected == told

    def test_requests_are_recognised(self, anthropic_recording):
        """
        Every recorded request has its dialect's shape, and its model.
        """
        recorded = anthropic_recording
        request = dialect_for(recorded).request(recorded.request, recorded.path)

        asked = json.loads(recorded.request)
        assert (True, asked["model"], asked["max_tokens"], recorded.streamed) == (
            request.recognised,
            request.model,
            request.parameters.max_tokens,
            request.stream,
        )

    def test_content_is_valid(self, anthropic_recording, replay, valid):
        """
        Prompts and answers fit the message schemas.
        """
        recorded = anthropic_recording
        prompt = dialect_for(recorded).prompt(recorded.request)
        response = read(recorded, replay, content=True)

        assert valid("input-messages", prompt.input_messages)
        assert valid("tool-definitions", prompt.tool_definitions or []) is not None
        assert bool(valid("output-messages", response.output_messages or [])) is (recorded.status == 200)
