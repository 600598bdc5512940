"""
Prompts and answers in OpenAI's shapes, told in those of the GenAI message schemas.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from otel_llm_instrumentation.dialects import message_parts as parts
from otel_llm_instrumentation.dialects.decoding import plain
from otel_llm_instrumentation.dialects.message_parts import Message, Part, dicts

_AUDIO_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_TEXT_FIELDS: Final = ("content", "refusal", "reasoning_content", "reasoning", "text")


def input_messages(messages: object) -> list[Message]:
    """
    Give the prompt of a chat; messages that carry nothing are left out.
    """
    told = (_input_message(item) for item in dicts(messages))
    return [message for message in told if message["parts"]]


def output_messages(choices: object) -> list[Message] | None:
    """
    Give one message per choice; None when there is no choice.
    """
    return [_output_message(choice) for choice in dicts(choices)] or None


def tool_definitions(tools: object) -> list[dict[str, object]] | None:
    """
    Give type and name of each tool; a built-in tool is called what it is.
    """
    return [_tool_definition(tool) for tool in dicts(tools)] or None


def content_parts(content: object) -> list[Part]:
    """
    Give the parts of a message's content, which may be one string.
    """
    if isinstance(content, str):
        return [parts.text(content)] if content else []
    items = content if isinstance(content, list) else []
    return [part for item in items if (part := _part(item)) is not None]


class Transcript:
    """
    Puts the deltas of streamed choices together, into the shape of an answer in one piece.
    """

    __slots__ = ("_calls", "_texts")

    def __init__(self) -> None:
        self._texts: dict[int, dict[str, list[str]]] = {}
        self._calls: dict[int, dict[int, dict[str, Any]]] = {}

    def add(self, data: bytes) -> None:
        """
        Take one chunk.
        """
        for choice in dicts(plain(data).get("choices")):
            index, delta = choice.get("index", 0), choice.get("delta", choice)
            if isinstance(index, int) and isinstance(delta, dict):
                self._add_texts(index, delta)
                for call in dicts(delta.get("tool_calls")):
                    self._add_call(index, call)

    def choices(self, reasons: Mapping[int, str | None]) -> list[dict[str, Any]]:
        """
        Give the choices, complete with why they ended.
        """
        return [{"finish_reason": reasons[index], "message": self._message(index)} for index in sorted(reasons)]

    def _add_texts(self, index: int, delta: dict[str, Any]) -> None:
        texts = self._texts.setdefault(index, {})
        for field in _TEXT_FIELDS:
            if isinstance(piece := delta.get(field), str):
                texts.setdefault(field, []).append(piece)

    def _add_call(self, index: int, delta: dict[str, Any]) -> None:
        calls = self._calls.setdefault(index, {})
        position = delta.get("index")
        call = calls.setdefault(position if isinstance(position, int) else len(calls), {"pieces": []})
        call["id"] = call.get("id") or delta.get("id")
        function = delta.get("function") or delta.get("custom")
        if isinstance(function, dict):
            call["name"] = call.get("name") or function.get("name")
            call["pieces"] += [piece for key in ("arguments", "input") if isinstance(piece := function.get(key), str)]

    def _message(self, index: int) -> dict[str, Any]:
        calls = [
            {"id": call["id"], "function": {"name": call.get("name"), "arguments": "".join(call["pieces"])}}
            for _, call in sorted(self._calls.get(index, {}).items())
        ]
        texts = {field: "".join(pieces) for field, pieces in self._texts.get(index, {}).items()}
        return {**texts, "tool_calls": calls}


def _input_message(message: dict[str, Any]) -> Message:
    role, name = message.get("role"), message.get("name")
    if role in ("tool", "function"):
        told: list[Part] = [parts.tool_response(message.get("tool_call_id"), message.get("content"))]
    else:
        told = list(_message_parts(message))
    return parts.message(str(role), told, name=name if isinstance(name, str) else None)


def _output_message(choice: dict[str, Any]) -> Message:
    message, reason = choice.get("message", choice), choice.get("finish_reason")
    told = list(_message_parts(message)) if isinstance(message, dict) else []
    return parts.message("assistant", told, finish_reason=finish_reason(reason))


def finish_reason(reason: object) -> str:
    """
    Give the schemas' word for why a choice ended.
    """
    if reason in ("tool_calls", "function_call"):
        return "tool_call"
    return reason if isinstance(reason, str) and reason else "error"


def _message_parts(message: dict[str, Any]) -> Iterator[Part]:
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thought, str) and thought:
        yield parts.reasoning(thought)
    for field in ("content", "text", "refusal"):
        yield from content_parts(message.get(field))
    match message.get("audio"):
        case {"data": str(data), "transcript": str(transcript)}:
            yield parts.text(transcript)
            yield parts.blob(data, "audio")
    for call in dicts(message.get("tool_calls")):
        yield _tool_call(call)
    match message.get("function_call"):
        case {"name": name, **rest}:
            yield parts.tool_call(None, name, rest.get("arguments"))


def _tool_call(call: dict[str, Any]) -> Part:
    match call:
        case {"custom": dict(custom)}:
            return parts.tool_call(call.get("id"), custom.get("name"), custom.get("input"))
        case {"function": dict(function)}:
            return parts.tool_call(call.get("id"), function.get("name"), function.get("arguments"))
        case _:
            return parts.tool_call(call.get("id"), None, None)


def _tool_definition(tool: dict[str, Any]) -> dict[str, object]:
    kind = str(tool.get("type", "function"))
    inner = tool.get(kind)
    name = (inner if isinstance(inner, dict) else tool).get("name")
    return {"type": kind, "name": name if isinstance(name, str) else kind}


def _part(item: object) -> Part | None:  # noqa: PLR0911 - one way out per kind of part
    match item:
        case str(text) | {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            return parts.text(text)
        case {"type": "refusal", "refusal": str(text)}:
            return parts.text(text)
        case {"type": "thinking", "thinking": list(thoughts)}:
            return parts.reasoning("".join(str(thought.get("text", "")) for thought in dicts(thoughts)))
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)} | {
            "type": "input_image",
            "image_url": str(url),
        }:
            return parts.linked(url, "image")
        case {"type": "input_image", "file_id": str(file_id)}:
            return parts.stored(file_id, "image")
        case {"type": "input_audio", "input_audio": {"data": str(data), **details}}:
            return parts.blob(data, "audio", _AUDIO_TYPES.get(str(details.get("format"))))
        case {"type": "file", "file": dict(nested)}:
            return _document(nested)
        case {"type": "input_file", **file}:
            return _document(file)
        case _:
            return None


def _document(file: dict[Any, Any]) -> Part | None:
    match file:
        case {"file_id": str(file_id)}:
            return parts.stored(file_id, "document")
        case {"file_data": str(data)}:
            return parts.linked(data, "document") if data.startswith("data:") else parts.blob(data, "document")
        case {"file_url": str(url)}:
            return parts.linked(url, "document")
        case _:
            return None
