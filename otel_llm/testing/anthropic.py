"""
How Anthropic's Messages API answers.
"""

import json
from collections.abc import Iterator

from otel_llm.testing.answer import ID, Answer, Ask, Json, document, dumps, example, frames, named, tokens

HEADERS = {
    "request-id": f"req_{ID}",
    "anthropic-organization-id": "0e4f3a3c-5c4f-4a1c-9c51-2f7b9a1d7c11",
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-03-03T03:03:22Z",
    "anthropic-ratelimit-tokens-limit": "540000",
    "anthropic-ratelimit-tokens-remaining": "539000",
    "anthropic-ratelimit-tokens-reset": "2026-03-03T03:03:22Z",
}

_ERRORS = {
    400: ("invalid_request_error", "The request body is not valid JSON."),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: not found"),
    413: ("request_too_large", "Request exceeds the maximum size."),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    529: ("overloaded_error", "Overloaded"),
}
_SERVER_ERROR = ("api_error", "Internal server error")

_THOUGHT = "The user asks about the weather; the forecast says sun."


def error(status: int) -> Json:
    """
    Give Anthropic's error document for a status.
    """
    kind, message = _ERRORS.get(status, _SERVER_ERROR)
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{ID}"}


def messages(ask: Ask) -> Answer:
    """
    Answer `POST /v1/messages`.
    """
    message = _message(ask)
    return frames(_stream(message)) if ask.streamed else document(message)


def count_tokens(ask: Ask) -> Answer:
    """
    Answer `POST /v1/messages/count_tokens`, which makes no model think.
    """
    return document({"input_tokens": tokens(ask.body.get("system"), ask.body["messages"])})


def marked_prefix(body: Json) -> bytes | None:
    """
    Give the part of a prompt that is to be cached: tools and system, when a `cache_control` stands in them.
    """
    prefix = dumps([body.get("tools"), body.get("system")])
    return prefix if b'"cache_control"' in prefix else None


def _message(ask: Ask) -> Json:
    content = _content(ask)
    return {
        "model": ask.body.get("model"),
        "id": f"msg_{ID}",
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": "tool_use" if content[-1]["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": ask.told(_usage(ask)),
    }


def _content(ask: Ask) -> list[Json]:
    content: list[Json] = []
    if ask.body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        content.append({"type": "thinking", "thinking": _THOUGHT, "signature": "EuYFCkYICxgCKkDxKjCDNXmi"})
    if ask.body.get("tools") and not _has_tool_result(ask.body["messages"]):
        tool = ask.body["tools"][0]
        content.append(_tool_use(tool["name"], tool.get("input_schema", {})))
    else:
        content.append({"type": "text", "text": ask.text})
    return content


def _tool_use(name: str, schema: Json) -> Json:
    return {"type": "tool_use", "id": f"toolu_{ID}", "name": name, "input": example(schema)}


def _has_tool_result(conversation: list[Json]) -> bool:
    last = conversation[-1]["content"]
    return not isinstance(last, str) and any(part.get("type") == "tool_result" for part in last)


def _usage(ask: Ask) -> Json:
    prefix = marked_prefix(ask.body)
    whole = tokens(ask.body.get("tools"), ask.body.get("system"), ask.body["messages"])
    kept = len(prefix) // 4 if prefix else 0
    written = 0 if ask.cached else kept
    hour = written if prefix and b'"ttl":"1h"' in prefix else 0
    thought = len(_THOUGHT.split()) if ask.body.get("thinking", {}).get("type") in ("enabled", "adaptive") else 0
    return {
        "input_tokens": max(whole - kept, 1),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": kept - written,
        "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
        "output_tokens": len(ask.words) + thought,
        "service_tier": "standard",
    }


def _stream(message: Json) -> Iterator[bytes]:
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield named({"type": "message_start", "message": start})
    for index, block in enumerate(message["content"]):
        yield from _block(index, block)
    told = {name: count for name, count in usage.items() if name.endswith("tokens")}
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield named({"type": "message_delta", "delta": delta, "usage": told})
    yield named({"type": "message_stop"})


def _block(index: int, block: Json) -> Iterator[bytes]:
    empty: dict[str, Json] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    yield named({"type": "content_block_start", "index": index, "content_block": {**block, **empty[block["type"]]}})
    if index == 0:
        yield named({"type": "ping"})
    for delta in _deltas(block):
        yield named({"type": "content_block_delta", "index": index, "delta": delta})
    yield named({"type": "content_block_stop", "index": index})


def _deltas(block: Json) -> Iterator[Json]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": word} for word in Ask("", {}, block["text"]).words)
    elif block["type"] == "thinking":
        yield {"type": "thinking_delta", "thinking": block["thinking"]}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        arguments = json.dumps(block["input"])
        yield from ({"type": "input_json_delta", "partial_json": part} for part in ("", arguments[:5], arguments[5:]))
