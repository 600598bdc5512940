"""Prompt and answer, spelled as attributes."""

import msgspec

from otel_llm.call import Content
from otel_llm.telemetry.redaction import Redactor
from otel_llm.telemetry.semconv import INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS, TOOL_DEFINITIONS

_ATTRIBUTES = {
    "system_instructions": SYSTEM_INSTRUCTIONS,
    "input_messages": INPUT_MESSAGES,
    "output_messages": OUTPUT_MESSAGES,
    "tool_definitions": TOOL_DEFINITIONS,
}


def content_attributes(content: Content | None, redactor: Redactor) -> dict[str, object]:
    """
    Give the structured content attributes of a log record, redacted.
    """
    if content is None:
        return {}
    found = ((name, getattr(content, field)) for field, name in _ATTRIBUTES.items())
    return {name: redactor.value(value) for name, value in found if value is not None}


def as_json(attributes: dict[str, object]) -> dict[str, object]:
    """
    Give content attributes as spans carry them: each one JSON string.
    """
    return {name: msgspec.json.encode(value).decode() for name, value in attributes.items()}
