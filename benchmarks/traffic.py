"""
What is asked and answered: bodies like a provider's, served inside the process.
"""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import cycle, islice

import httpx2

_SYSTEM = "You answer questions of our support team about invoices, in one short paragraph, with the numbers you used."
_QUESTION = (
    "The customer with number 20817 was billed twice for the same seat in March. The second invoice carries a discount "
    "that the first does not have. Which of the two is right, what do we have to correct in the books, and what do we "
    "write to the customer? Please mention how long the correction takes and whom the customer can ask."
)
_ANSWER = (
    "The second invoice is right: the seat was moved to the yearly plan on March 4, and its discount counts from that "
    "day. Cancel the first invoice with a credit note over the full amount, so that receivable and tax are both "
    "corrected in the same period. The customer sees the credit within five working days and can ask the billing desk."
)

CHAT = {
    "model": "gpt-4o-mini",
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 256,
    "seed": 7,
    "user": "agent-12",
    "messages": [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _QUESTION}],
}
STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
MESSAGES = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "system": _SYSTEM,
    "messages": [{"role": "user", "content": _QUESTION}],
}

_HEADERS = {
    "content-type": "application/json",
    "x-request-id": "req_7d1f0a3b9c5e4f6a",
    "request-id": "req_011CTx8mVbT2kQ5nZpJ4wE7a",
    "openai-processing-ms": "398",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9998",
    "date": "Mon, 03 Mar 2025 08:00:00 GMT",
    "server": "cloudflare",
}
_STREAM_HEADERS = _HEADERS | {"content-type": "text/event-stream; charset=utf-8"}

_USAGE = {
    "prompt_tokens": 158,
    "completion_tokens": 79,
    "total_tokens": 237,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_COMPLETION = {
    "id": "chatcmpl-BKq2vXn8dT4mWz6yR1sUc3aEoLh5J",
    "created": 1740988800,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_b8bc95a0ac",
}
_MESSAGE = {
    "id": "msg_01Nq5kYvR8sTzWcB3xGdH7fJ",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "stop_reason": None,
    "stop_sequence": None,
}


def completion() -> bytes:
    """
    Give the answer to `CHAT`.
    """
    message = {"role": "assistant", "content": _ANSWER, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json({**_COMPLETION, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def completion_chunks(count: int) -> list[bytes]:
    """
    Give the answer to `STREAM`: so many chunks of text, and those that open and close a stream.
    """
    deltas = [({"role": "assistant", "content": "", "refusal": None}, None)]
    deltas += [({"content": word}, None) for word in _words(count)]
    deltas += [({}, "stop")]
    chunks = [_completion_chunk(delta, reason) for delta, reason in deltas]
    last = {**_COMPLETION, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
    return [*chunks, b"data: " + _json(last) + b"\n\n", b"data: [DONE]\n\n"]


def message() -> bytes:
    """
    Give the answer to `MESSAGES`.
    """
    text = {"type": "text", "text": _ANSWER}
    return _json({**_MESSAGE, "content": [text], "stop_reason": "end_turn", "usage": _anthropic_usage(79)})


def message_events(count: int) -> list[bytes]:
    """
    Give the same answer as a stream.
    """
    text = {"type": "text", "text": ""}
    deltas = [{"index": 0, "delta": {"type": "text_delta", "text": word}} for word in _words(count)]
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 79}}
    return [
        _event("message_start", {"message": {**_MESSAGE, "content": [], "usage": _anthropic_usage(1)}}),
        _event("content_block_start", {"index": 0, "content_block": text}),
        _event("ping", {}),
        *(_event("content_block_delta", delta) for delta in deltas),
        _event("content_block_stop", {"index": 0}),
        _event("message_delta", end),
        _event("message_stop", {}),
    ]


class Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """
    An answer that arrives chunk by chunk.
    """

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def answering(body: bytes) -> httpx2.MockTransport:
    """
    Give a transport that answers every request with a whole body.
    """
    return httpx2.MockTransport(lambda _request: httpx2.Response(200, headers=_HEADERS, content=body))


def streaming(chunks: list[bytes]) -> httpx2.MockTransport:
    """
    Give a transport that answers every request with a stream.
    """
    return httpx2.MockTransport(lambda _request: httpx2.Response(200, headers=_STREAM_HEADERS, stream=Chunks(chunks)))


def _completion_chunk(delta: dict[str, object], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    document = {**_COMPLETION, "object": "chat.completion.chunk", "choices": [choice], "usage": None}
    return b"data: " + _json(document) + b"\n\n"


def _event(kind: str, fields: dict[str, object]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _json({"type": kind, **fields}) + b"\n\n"


def _anthropic_usage(output_tokens: int) -> dict[str, object]:
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 64}
    return {"input_tokens": 94, **cache, "output_tokens": output_tokens, "service_tier": "standard"}


def _words(count: int) -> list[str]:
    return [f"{word} " for word in islice(cycle(_ANSWER.split()), count)]


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
