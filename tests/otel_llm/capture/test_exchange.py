import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from otel_llm_instrumentation.dialects.anthropic import AnthropicMessages
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

from otel_llm.capture.exchange import Exchange

SSE = [(b"Content-Type", b"text/event-stream; charset=utf-8")]


def events(*documents, named=False):
    lines = []
    for document in documents:
        name = f"event: {document['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(document)}\n\n")
    return "".join(lines).encode()


def chunk(**choice):
    return {"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "finish_reason": None, **choice}]}


CHAT = (
    events(
        chunk(delta={"role": "assistant", "content": ""}),
        chunk(delta={"content": "Héllo"}),
        chunk(delta={"content": " wörld 🌍"}),
        chunk(delta={}, finish_reason="stop"),
        {"id": "c1", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
    )
    + b"data: [DONE]\n\n"
)
MESSAGES = events(
    {
        "type": "message_start",
        "message": {
            "id": "m1",
            "model": "claude-sonnet-4-5",
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüß"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " Gott"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6}},
    {"type": "message_stop"},
    named=True,
)
RESPONSES = events(
    {"type": "response.created", "response": {"id": "r1", "model": "gpt-4o", "status": "in_progress"}},
    {"type": "response.output_text.delta", "delta": "Olá"},
    {"type": "response.output_text.delta", "delta": " mundo"},
    {
        "type": "response.completed",
        "response": {
            "id": "r1",
            "model": "gpt-4o",
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "Olá mundo"}]}],
            "usage": {"input_tokens": 2, "output_tokens": 3},
        },
    },
    named=True,
)
STREAMS = {
    "chat": (OpenAIChat, CHAT),
    "messages": (AnthropicMessages, MESSAGES),
    "responses": (OpenAIResponses, RESPONSES),
}


def read(dialect, pieces, headers=SSE):
    """
    Feed an answer in pieces; give what was learned, how many content chunks came, and whether it ended well.
    """
    exchange = Exchange(dialect(), 0, content=True)
    exchange.answer(200, headers)
    exchange.open()
    done = [exchange.feed(piece) for piece in pieces]
    exchange.finish("complete")
    return exchange.response, exchange.chunks, any(done)


class TestStream:
    @pytest.mark.parametrize("name", STREAMS)
    def test_split_at_every_byte(self, name):
        """
        Wherever a stream is split in two, the same is learned from it.
        """
        dialect, wire = STREAMS[name]
        whole = read(dialect, [wire])

        assert all(whole == read(dialect, [wire[:at], wire[at:]]) for at in range(len(wire) + 1))
        assert whole[1:] == (2, True)

    @pytest.mark.parametrize("name", STREAMS)
    @given(data=st.data())
    def test_any_pieces(self, name, data):
        """
        Any pieces, line ends and comments give the same facts.
        """
        dialect, wire = STREAMS[name]
        sent = data.draw(st.sampled_from([wire, wire.replace(b"\n", b"\r\n"), b": ping\n\n" + wire]))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
        pieces = [sent[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True)]

        assert read(dialect, [wire]) == read(dialect, pieces)

    def test_compressed(self):
        """
        A compressed stream is read like any other, in whatever pieces it comes.
        """
        packed = gzip.compress(CHAT)
        headers = [*SSE, (b"Content-Encoding", b"gzip")]

        assert read(OpenAIChat, [CHAT]) == read(
            OpenAIChat, [packed[at : at + 9] for at in range(0, len(packed), 9)], headers
        )

    def test_unknown_coding(self):
        """
        A coding that nobody can read leaves the usage untold, and fails nothing.
        """
        response, chunks, _ = read(OpenAIChat, [b"\x00\x01\x02"], [*SSE, (b"Content-Encoding", b"snappy")])

        assert (response.usage, chunks) == (None, 0)


class TestHead:
    def test_rate_limits(self):
        """
        Rate limits are read in OpenAI's and in Anthropic's spelling.
        """
        exchange = Exchange(OpenAIChat(), 0, content=False)
        exchange.answer(200, [(b"X-RateLimit-Limit-Requests", b"60"), (b"x-ratelimit-reset-requests", b"1s")])
        other = Exchange(AnthropicMessages(), 0, content=False)
        other.answer(200, [(b"anthropic-ratelimit-tokens-remaining", b"900")])

        limit = exchange.rate_limit
        assert (limit.requests_limit, limit.requests_reset, limit.tokens_limit) == (60, "1s", None)
        assert other.rate_limit.tokens_remaining == 900

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ([(b"retry-after", b"3")], 3.0),
            ([(b"retry-after-ms", b"250"), (b"retry-after", b"3")], 0.25),
            ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], None),
            ([], None),
        ],
    )
    def test_retry_after(self, headers, seconds):
        """
        What the provider asked to wait is told in seconds.
        """
        exchange = Exchange(OpenAIChat(), 0, content=False)
        exchange.answer(429, headers)

        assert exchange.retry_after == seconds
