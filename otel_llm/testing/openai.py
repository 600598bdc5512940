"""
How OpenAI's API answers: chat completions, legacy completions and embeddings.
"""

import base64
import json
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

from otel_llm.testing.answer import ID, Answer, Ask, Json, data, document, example, frames, tokens

HEADERS = {
    "x-request-id": f"req_{ID}",
    "openai-organization": "acme",
    "openai-processing-ms": "12",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "199970",
    "x-ratelimit-reset-requests": "8.64s",
    "x-ratelimit-reset-tokens": "9ms",
}

CREATED = 1_776_481_268
DONE = b"data: [DONE]\n\n"
_REASONING = 64
_CACHED_FROM = 1024
_DIMENSIONS = 1536

_ERRORS = {
    400: ("invalid_request_error", None, "We could not parse the JSON body of your request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached on requests per minute."),
}
_SERVER_ERROR = ("server_error", None, "The server had an error while processing your request.")


def error(status: int) -> Json:
    """
    Give OpenAI's error document for a status.
    """
    kind, code, message = _ERRORS.get(status, _SERVER_ERROR)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def model(ask: Ask) -> str:
    """
    Give the model that answers: the one asked for, or the deployment in an Azure path.
    """
    deployment = ask.path.partition("/deployments/")[2].partition("/")[0]
    return str(ask.body.get("model") or deployment or "gpt-4o-mini")


def reasons(name: str) -> bool:
    """
    Say whether a model thinks before it answers.
    """
    return name.startswith(("o1", "o3", "o4", "gpt-5", "gpt-6"))


def cached_tokens(count: int) -> int:
    """
    Give how much of a prompt comes from the cache: whole blocks of 128, in prompts of 1024 and more.
    """
    return count // 128 * 128 - 128 if count >= _CACHED_FROM else 0


def reasoning_tokens(ask: Ask) -> int:
    """
    Give how many tokens the model thought.
    """
    return _REASONING if reasons(model(ask)) else 0


def chat(ask: Ask) -> Answer:
    """
    Answer `POST /v1/chat/completions`.
    """
    if ask.streamed:
        return frames(_chat_stream(ask))
    choices = [_choice(index, ask) for index in range(_choice_count(ask))]
    return document({**_head(ask, "chat.completion"), "choices": choices, "usage": _usage(ask), **_tail(ask)})


def completions(ask: Ask) -> Answer:
    """
    Answer `POST /v1/completions`.
    """
    head = {"id": f"cmpl-{ID}", "object": "text_completion", "created": CREATED, "model": model(ask)}
    usage = ask.told(_plain_usage(tokens(ask.body["prompt"]), len(ask.words)))
    if ask.streamed:
        return frames(_completion_stream(ask, head, usage))
    return document({**head, "choices": [_completion_choice(ask.text, "stop")], "usage": usage})


def embeddings(ask: Ask) -> Answer:
    """
    Answer `POST /v1/embeddings` with unit vectors.
    """
    inputs = ask.body["input"]
    texts = inputs if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int) else [inputs]
    vector = _vector(ask.body.get("dimensions") or _DIMENSIONS, base64=ask.body.get("encoding_format") == "base64")
    count = tokens(*texts)
    return document(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": vector} for index in range(len(texts))],
            "model": model(ask),
            "usage": ask.told({"prompt_tokens": count, "total_tokens": count}),
        }
    )


@cache
def _vector(size: int, *, base64: bool) -> Any:
    values = [1.0, *[0.0] * (size - 1)]
    return _packed(values) if base64 else values


def _packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _head(ask: Ask, kind: str) -> Json:
    return {"id": f"chatcmpl-{ID}", "object": kind, "created": CREATED, "model": model(ask)}


def _tail(ask: Ask) -> Json:
    tier = ask.body.get("service_tier")
    return {"service_tier": "default" if tier in (None, "auto") else tier, "system_fingerprint": "fp_44709d6fcb"}


def _choice_count(ask: Ask) -> int:
    return int(ask.body.get("n") or 1)


def _choice(index: int, ask: Ask) -> Json:
    calls = _tool_calls(ask)
    message: Json = {"role": "assistant", "content": None if calls else _said(ask), "refusal": None, "annotations": []}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else "stop"
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _said(ask: Ask) -> str:
    schema = (ask.body.get("response_format") or {}).get("json_schema")
    return json.dumps(example(schema["schema"])) if schema else ask.text


def _tool_calls(ask: Ask) -> list[Json]:
    if not ask.body.get("tools") or ask.body["messages"][-1].get("role") == "tool":
        return []
    function = ask.body["tools"][0]["function"]
    arguments = json.dumps(example(function.get("parameters", {})))
    return [{"id": f"call_{ID}", "type": "function", "function": {"name": function["name"], "arguments": arguments}}]


def _usage(ask: Ask) -> Json:
    prompt = tokens(ask.body["messages"], ask.body.get("tools"))
    thought = reasoning_tokens(ask)
    usage = _plain_usage(prompt, len(ask.words) * _choice_count(ask) + thought)
    usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens(prompt), "audio_tokens": 0}
    usage["completion_tokens_details"] = {
        "reasoning_tokens": thought,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    return ask.told(usage)


def _plain_usage(prompt: int, completion: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _wants_usage(ask: Ask) -> bool:
    return bool((ask.body.get("stream_options") or {}).get("include_usage"))


def _chat_stream(ask: Ask) -> Iterator[bytes]:
    counted = {"usage": None} if _wants_usage(ask) else {}
    head = {**_head(ask, "chat.completion.chunk"), **_tail(ask)}
    calls = _tool_calls(ask)
    deltas = [{"role": "assistant", "content": None if calls else "", "refusal": None}]
    deltas += _tool_deltas(calls) if calls else [{"content": word} for word in ask.words]
    reason = "tool_calls" if calls else "stop"
    for index in range(_choice_count(ask)):
        for delta in deltas:
            yield data({**head, "choices": [_chunk_choice(index, delta, None)], **counted})
        yield data({**head, "choices": [_chunk_choice(index, {}, reason)], **counted})
    if counted:
        yield data({**head, "choices": [], "usage": _usage(ask)})
    yield DONE


def _chunk_choice(index: int, delta: Json, reason: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _tool_deltas(calls: list[Json]) -> Iterator[Json]:
    for index, call in enumerate(calls):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {"name": function["name"], "arguments": ""}}]}
        for part in (function["arguments"][:5], function["arguments"][5:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _completion_stream(ask: Ask, head: Json, usage: Json) -> Iterator[bytes]:
    for word in ask.words:
        yield data({**head, "choices": [_completion_choice(word, None)]})
    yield data({**head, "choices": [_completion_choice("", "stop")]})
    if _wants_usage(ask):
        yield data({**head, "choices": [], "usage": usage})
    yield DONE


def _completion_choice(text: str, reason: str | None) -> Json:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
