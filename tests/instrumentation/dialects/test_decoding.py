"""
JSON that providers send and msgspec does not take.
"""

import json

import msgspec
import pytest
from otel_llm_instrumentation.dialects.anthropic import AnthropicMessages
from otel_llm_instrumentation.dialects.decoding import Tolerant, parsed, plain
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

from otel_llm.capture.dialect import USAGE

HALF = "\ud83d"


class Count(msgspec.Struct):
    """
    An answer of one number.
    """

    count: int | None = None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r'"\ud83d"', "\ufffd"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ude00 and \ud83d"', "\U0001f600 and \ufffd"),
        (r'"\\ud83d \ud83d"', r"\ud83d" + " \ufffd"),
        (r'"\uD83Dx"', "\ufffdx"),
    ],
)
def test_half_a_character_is_replaced(text, read):
    """
    A surrogate that stands alone becomes U+FFFD; pairs and escaped backslashes stay what they are.
    """
    assert plain(f'{{"text": {text}}}'.encode()) == {"text": read}
    assert parsed(text) == read


def test_half_a_character_costs_no_count():
    """
    What stands beside it is read, also where another value is odd.
    """
    read = Tolerant(Count).decode
    assert read(json.dumps({"text": HALF, "count": 7}).encode()) == Count(7)
    assert read(json.dumps({"text": HALF, "count": "many"}).encode()) == Count(None)


@pytest.mark.parametrize("data", [b"", b'{"count": ', rb'{"text": "\ud83', b"[DONE]"])
def test_what_is_no_json_stays_unread(data):
    """
    Nothing is made of bytes that would be no JSON without surrogates either.
    """
    assert (plain(data), Tolerant(Count).attempt(data)) == ({}, None)


def test_half_a_character_in_a_stream():
    """
    The frame that ends a stream is read although it holds half a character.
    """
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "note": HALF}
    chat = OpenAIChat().stream(content=False)
    assert chat.feed(json.dumps({"choices": [], "usage": usage}).encode(), b"") == USAGE
    assert chat.finish().usage.output_tokens == 4

    told = {"id": "resp_1", "output": HALF, "usage": {"input_tokens": 3, "output_tokens": 5}}
    responses = OpenAIResponses().stream(content=False)
    responses.feed(json.dumps({"type": "response.completed", "response": told, "text": HALF}).encode(), b"")
    assert responses.finish().usage.output_tokens == 5

    messages = AnthropicMessages().stream(content=False)
    messages.feed(json.dumps({"type": "message_delta", "usage": {"output_tokens": 6}, "text": HALF}).encode(), b"")
    assert messages.finish().usage.output_tokens == 6
