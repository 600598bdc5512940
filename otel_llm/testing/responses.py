"""
How OpenAI's Responses API answers, the stored and the background ones included.
"""

import json
from collections.abc import Iterator

from otel_llm.testing.answer import ID, Answer, Ask, Json, document, example, frames, named, tokens
from otel_llm.testing.openai import CREATED, cached_tokens, model, reasoning_tokens


def create(ask: Ask) -> Answer:
    """
    Answer `POST /v1/responses`; a background response is queued.
    """
    if ask.body.get("background"):
        return document(_response(ask, "queued"))
    return completed(ask)


def completed(ask: Ask, *, streamed: bool | None = None) -> Answer:
    """
    Give the finished response, whole or as the frames that lead to it.
    """
    wanted = ask.streamed if streamed is None else streamed
    return frames(_stream(ask)) if wanted else document(_response(ask, "completed"))


def _response(ask: Ask, status: str) -> Json:
    finished = status == "completed"
    return {
        "id": f"resp_{ID}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": bool(ask.body.get("background")),
        "completed_at": CREATED + 1 if finished else None,
        "error": None,
        "incomplete_details": None,
        "instructions": ask.body.get("instructions"),
        "max_output_tokens": ask.body.get("max_output_tokens"),
        "model": model(ask),
        "output": _output(ask) if finished else [],
        "parallel_tool_calls": True,
        "previous_response_id": ask.body.get("previous_response_id"),
        "reasoning": {"effort": (ask.body.get("reasoning") or {}).get("effort"), "summary": None},
        "service_tier": ask.body.get("service_tier") or "default",
        "store": ask.body.get("store", True),
        "temperature": ask.body.get("temperature", 1.0),
        "text": ask.body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": ask.body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": ask.told(_usage(ask)) if finished else None,
        "user": None,
        "metadata": ask.body.get("metadata") or {},
    }


def _usage(ask: Ask) -> Json:
    prompt = tokens(ask.body.get("instructions"), ask.body.get("input"), ask.body.get("tools"))
    thought = reasoning_tokens(ask)
    said = len(ask.words) + thought
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached_tokens(prompt)},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": prompt + said,
    }


def _output(ask: Ask) -> list[Json]:
    thinking = [{"id": f"rs_{ID}", "type": "reasoning", "summary": []}] if reasoning_tokens(ask) else []
    tools = [tool for tool in ask.body.get("tools") or [] if tool.get("type") == "function"]
    if tools and not _has_tool_result(ask):
        return [*thinking, _function_call(tools[0])]
    return [*thinking, _message("completed", [_part(_said(ask))])]


def _said(ask: Ask) -> str:
    schema = ((ask.body.get("text") or {}).get("format") or {}).get("schema")
    return json.dumps(example(schema)) if schema else ask.text


def _has_tool_result(ask: Ask) -> bool:
    items = ask.body.get("input")
    return isinstance(items, list) and items[-1].get("type") == "function_call_output"


def _function_call(tool: Json) -> Json:
    arguments = json.dumps(example(tool.get("parameters") or {}))
    return {
        "id": f"fc_{ID}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{ID}",
        "name": tool["name"],
        "arguments": arguments,
    }


def _message(status: str, content: list[Json]) -> Json:
    return {"id": f"msg_{ID}", "type": "message", "status": status, "content": content, "role": "assistant"}


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _stream(ask: Ask) -> Iterator[bytes]:
    for number, event in enumerate(_events(ask)):
        yield named({**event, "sequence_number": number})


def _events(ask: Ask) -> Iterator[Json]:
    begun = _response(ask, "in_progress")
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    done = _response(ask, "completed")
    for index, item in enumerate(done["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": _empty(item)}
        yield from _deltas(index, item)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": done}


def _empty(item: Json) -> Json:
    unfinished: dict[str, Json] = {"message": {"content": []}, "function_call": {"arguments": ""}, "reasoning": {}}
    return {**item, **({"status": "in_progress"} if "status" in item else {}), **unfinished[item["type"]]}


def _deltas(index: int, item: Json) -> Iterator[Json]:
    where: Json = {"item_id": item["id"], "output_index": index}
    if item["type"] == "message":
        yield from _text_deltas({**where, "content_index": 0}, item["content"][0])
    elif item["type"] == "function_call":
        for part in (item["arguments"][:5], item["arguments"][5:]):
            yield {"type": "response.function_call_arguments.delta", **where, "delta": part}
        arguments = {"arguments": item["arguments"], "name": item["name"]}
        yield {"type": "response.function_call_arguments.done", **where, **arguments}


def _text_deltas(where: Json, part: Json) -> Iterator[Json]:
    yield {"type": "response.content_part.added", **where, "part": _part("")}
    for word in Ask("", {}, part["text"]).words:
        yield {"type": "response.output_text.delta", **where, "delta": word, "logprobs": [], "obfuscation": "x"}
    yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **where, "part": part}
