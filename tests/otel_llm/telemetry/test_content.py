import json

from otel_llm.call import Content
from otel_llm.telemetry.content import as_json, content_attributes
from otel_llm.telemetry.redaction import Redactor

KEY = "sk-proj-abcdefghijklmnop1234"


def message(text):
    return [{"role": "user", "parts": [{"type": "text", "content": text}]}]


class TestContent:
    def test_nothing_was_captured(self):
        """
        Without content there are no content attributes, not even empty ones.
        """
        assert content_attributes(None, Redactor()) == {}
        assert content_attributes(Content(), Redactor()) == {}

    def test_each_part_has_its_attribute(self):
        """
        The four parts of content stand under the conventions' names.
        """
        content = Content(
            system_instructions=[{"type": "text", "content": "Be kind."}],
            input_messages=message("Hi"),
            output_messages=[],
            tool_definitions=[{"type": "function", "name": "f"}],
        )
        assert content_attributes(content, Redactor()) == {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be kind."}],
            "gen_ai.input.messages": message("Hi"),
            "gen_ai.output.messages": [],
            "gen_ai.tool.definitions": [{"type": "function", "name": "f"}],
        }

    def test_every_part_is_redacted(self):
        """
        No part of the content leaves with a key in it.
        """
        content = Content(message(KEY), message(KEY), message(KEY), message(KEY))
        told = content_attributes(content, Redactor())
        assert list(told.values()) == [message("[REDACTED]")] * 4

    def test_spans_carry_json(self):
        """
        A span's attribute is one JSON string, with letters as they are.
        """
        told = as_json({"gen_ai.input.messages": message("Grüße")})
        assert json.loads(told["gen_ai.input.messages"]) == message("Grüße")
        assert "Grüße" in told["gen_ai.input.messages"]
