import json

import pytest
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

from otel_llm.call import Parameters, Usage
from otel_llm.capture.dialect import CONTENT, DONE, NOTHING

RESPONSES = OpenAIResponses()
MESSAGE = {
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hi"}],
}
CALL = {"type": "function_call", "status": "completed", "call_id": "t1", "name": "f", "arguments": '{"a": 1}'}


def event(kind, **fields):
    return json.dumps({"type": kind, **fields}).encode()


def answer(status="completed", output=(), **fields):
    return {"id": "resp_1", "model": "gpt-5", "status": status, "output": list(output), **fields}


def read(*args, **fields):
    return RESPONSES.response(json.dumps(answer(*args, **fields)).encode(), content=True)


class TestRequest:
    def test_what_is_asked_for(self):
        """
        The Responses spelling of each parameter is understood.
        """
        body = {
            "model": "gpt-5",
            "input": "Hi",
            "max_output_tokens": 9,
            "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_schema"}},
            "conversation": {"id": "conv_1"},
            "previous_response_id": "resp_0",
            "background": True,
        }
        asked = RESPONSES.request(json.dumps(body).encode(), "/v1/responses")
        assert (asked.conversation_id, asked.background, asked.parameters) == (
            "conv_1",
            True,
            Parameters(max_tokens=9, reasoning_level="low", output_type="json", previous_response_id="resp_0"),
        )

    @pytest.mark.parametrize(
        ("path", "stream", "cursor"),
        [("/v1/responses/resp_9", False, None), ("/v1/responses/resp_9?stream=true&starting_after=3", True, "3")],
    )
    def test_a_fetch_names_its_response(self, path, stream, cursor):
        """
        A fetch has no body: the path tells which response, and the query, if given, from where.
        """
        asked = RESPONSES.request(b"", path)
        assert (asked.response_id, asked.model, asked.recognised) == ("resp_9", None, True)
        assert (asked.stream, asked.parameters.stream_cursor) == (stream, cursor)

    def test_somebody_elses_responses_are_not_recognised(self):
        """
        Survey tools have `/responses`, too.
        """
        assert RESPONSES.request(b"", "/api/responses").recognised is False


class TestFinishReasons:
    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            (answer(output=[MESSAGE]), ("stop",)),
            (answer(output=[MESSAGE, CALL, CALL]), ("stop", "tool_calls")),
            (answer(output=[]), ("stop",)),
            (answer("incomplete", incomplete_details={"reason": "max_output_tokens"}), ("length",)),
            (answer("incomplete", incomplete_details={"reason": "content_filter"}), ("content_filter",)),
            (answer("failed", error={"code": "server_error", "message": "no"}), ("error",)),
            (answer("cancelled"), ("error",)),
            (answer("queued"), ()),
            (answer("in_progress"), ()),
        ],
    )
    def test_status_becomes_a_reason(self, told, expected):
        """
        The state of a response, and the kinds of its output, say why it ended.
        """
        response = RESPONSES.response(json.dumps(told).encode(), content=False)
        assert (response.finish_reasons, response.status) == (expected, told["status"])

    def test_a_failed_response_tells_its_error(self):
        """
        A response that failed is an error, though HTTP said 200.
        """
        response = read("failed", error={"code": "rate_limit_exceeded", "message": "slow down"})
        assert (response.error_type, response.error_message) == ("rate_limit_exceeded", "slow down")


class TestStream:
    def test_events_are_told_apart(self):
        """
        Every kind of delta is content; the event with the finished response is the end.
        """
        reader = RESPONSES.stream(content=False)
        sent = [
            event("response.created", response=answer("in_progress")),
            event("response.output_item.added", item=MESSAGE, output_index=0),
            event("response.reasoning_summary_text.delta", delta="hm", output_index=0),
            event("response.output_text.delta", delta="Hi", output_index=0),
            event("response.function_call_arguments.delta", delta="{", output_index=1),
            event("response.output_text.done", text="Hi", output_index=0),
            event("response.completed", response=answer(usage={"input_tokens": 5, "output_tokens": 2})),
        ]
        told = [reader.feed(data, b"") for data in sent]
        assert told == [NOTHING, NOTHING, CONTENT, CONTENT, CONTENT, NOTHING, DONE]
        assert reader.finish().usage == Usage(input_tokens=5, output_tokens=2)

    @pytest.mark.parametrize(
        ("last", "kind"),
        [
            (event("error", code="server_error", message="no"), "server_error"),
            (event("response.failed", response=answer("failed", error={"code": "oops", "message": "no"})), "oops"),
        ],
    )
    def test_an_error_ends_the_stream(self, last, kind):
        """
        Both ways to fail end the stream and tell the code.
        """
        reader = RESPONSES.stream(content=False)
        assert (reader.feed(last, b""), reader.finish().error_type) == (DONE, kind)

    def test_an_abandoned_stream_keeps_what_came(self, valid):
        """
        Items that never were done are made of their deltas, and the missing reason is an error.
        """
        reader = RESPONSES.stream(content=True)
        for data in (
            event("response.created", response=answer("in_progress")),
            event("response.output_item.added", item={**MESSAGE, "content": []}, output_index=0),
            event("response.output_text.delta", delta="Hel", output_index=0),
            event("response.output_text.delta", delta="lo", output_index=0),
            event("response.output_item.added", item={**CALL, "arguments": ""}, output_index=1),
            event("response.function_call_arguments.delta", delta='{"a"', output_index=1),
        ):
            reader.feed(data, b"")
        response = reader.finish()
        [message] = valid("output-messages", response.output_messages)
        assert response.finish_reasons == ("error",)
        assert message["parts"] == [
            {"type": "text", "content": "Hello"},
            {"type": "tool_call", "id": "t1", "name": "f", "arguments": '{"a"'},
        ]


class TestContent:
    def test_items_become_turns(self, valid):
        """
        What the assistant did between two inputs is one turn.
        """
        items = [
            {"role": "user", "content": [{"type": "input_text", "text": "Look"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            CALL,
            {"type": "function_call_output", "call_id": "t1", "output": "a cat"},
        ]
        body = {"model": "m", "instructions": "Be brief.", "input": items, "tools": [{"type": "web_search"}]}
        prompt = RESPONSES.prompt(json.dumps(body).encode())

        assert valid("system-instructions", prompt.system_instructions) == [{"type": "text", "content": "Be brief."}]
        assert valid("tool-definitions", prompt.tool_definitions) == [{"type": "web_search", "name": "web_search"}]
        messages = valid("input-messages", prompt.input_messages)
        assert [(message["role"], [part["type"] for part in message["parts"]]) for message in messages] == [
            ("user", ["text"]),
            ("assistant", ["reasoning", "tool_call"]),
            ("tool", ["tool_call_response"]),
        ]

    def test_the_answer_is_one_message(self, valid):
        """
        Text, the provider's own tools and tool calls are parts of one message.
        """
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
        [message] = valid("output-messages", read(output=[search, MESSAGE, CALL]).output_messages)
        assert message["finish_reason"] == "tool_call"
        assert [part["type"] for part in message["parts"]] == ["server_tool_call", "text", "tool_call"]
