"""
The items of the Responses API, told in the shapes of the GenAI message schemas.
"""

from collections.abc import Iterator
from typing import Any, Final

from otel_llm_instrumentation.dialects import message_parts as parts
from otel_llm_instrumentation.dialects.decoding import plain
from otel_llm_instrumentation.dialects.message_parts import Message, Part, dicts
from otel_llm_instrumentation.dialects.openai_content import content_parts, finish_reason

TOOL_CALLS: Final = frozenset(
    {"function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call"}
)
"""Calls of the caller's own tools; all other `*_call` items are tools that the provider runs."""

_OF_THE_ITEM: Final = frozenset({"id", "call_id", "type", "name"})


def item_messages(items: object) -> list[Message]:
    """
    Give the prompt, which may be one string; items of the assistant that follow each other are one turn.
    """
    if isinstance(items, str):
        return [parts.message("user", [parts.text(items)])]
    messages: list[Message] = []
    before = None
    for item in dicts(items):
        told, role = list(_item_parts(item)), _role(item)
        if told and role == before == "assistant":
            messages[-1] = parts.message(role, [*dicts(messages[-1]["parts"]), *told])
        elif told:
            messages.append(parts.message(role, told))
            before = role
    return messages


def output_message(items: object, reasons: tuple[str, ...]) -> list[Message] | None:
    """
    Give the one message that a response is; None when nothing came.
    """
    told = [part for item in dicts(items) for part in _item_parts(item)]
    reason = "tool_calls" if "tool_calls" in reasons else next(iter(reasons), None)
    return [parts.message("assistant", told, finish_reason=finish_reason(reason))] if told else None


class ItemTranscript:
    """
    Puts streamed items together; an item that never was done is made of its deltas.
    """

    __slots__ = ("_deltas", "_items", "_last")

    def __init__(self) -> None:
        self._items: dict[int, dict[str, Any]] = {}
        self._deltas: dict[int, list[str]] = {}
        self._last: list[dict[str, Any]] = []

    def add(self, data: bytes) -> None:
        """
        Take one event.
        """
        match plain(data):
            case {"delta": str(delta), "output_index": int(index)}:
                self._deltas.setdefault(index, []).append(delta)
            case {"item": dict(item), "output_index": int(index), "type": str(kind)}:
                self._items[index] = item
                if kind.endswith(".done"):
                    self._deltas.pop(index, None)
            case {"response": {"output": list(output)}}:
                self._last = dicts(output)

    def items(self) -> list[dict[str, Any]]:
        """
        Give the items of the whole response, or what had come of them.
        """
        if self._last:
            return self._last
        for index, deltas in self._deltas.items():
            self._items[index] = _made_of("".join(deltas), self._items.get(index, {}))
        return [item for _, item in sorted(self._items.items())]


def _made_of(told: str, item: dict[str, Any]) -> dict[str, Any]:
    match item.get("type"):
        case "reasoning":
            return {**item, "summary": [{"text": told}]}
        case "function_call":
            return {**item, "arguments": told}
        case "custom_tool_call":
            return {**item, "input": told}
        case _:
            return {"type": "message", "content": told}


def _role(item: dict[str, Any]) -> str:
    kind = str(item.get("type", "message"))
    if kind == "message":
        return str(item.get("role", "user"))
    return "tool" if kind.endswith("_output") else "assistant"


def _item_parts(item: dict[str, Any]) -> Iterator[Part]:
    kind = str(item.get("type", "message"))
    call_id = item.get("call_id") or item.get("id")
    details = {key: value for key, value in item.items() if key not in _OF_THE_ITEM and value is not None}
    if kind == "message":
        yield from content_parts(item.get("content"))
    elif kind == "reasoning":
        yield from _thoughts(item)
    elif kind == "function_call":
        yield parts.tool_call(call_id, item.get("name"), item.get("arguments"))
    elif kind in TOOL_CALLS:
        arguments = item.get("input", details)
        yield {**parts.tool_call(call_id, item.get("name") or kind.removesuffix("_call"), None), "arguments": arguments}
    elif kind == "tool_search_output":
        yield parts.server_tool_response(call_id, {"type": "tool_search", **details})
    elif kind.endswith("_output"):
        yield parts.tool_response(call_id, item.get("output"))
    elif kind.endswith("_call") or kind == "mcp_list_tools":
        name = kind.removesuffix("_call")
        yield parts.server_tool_call(call_id, str(item.get("name") or name), {"type": name, **details})


def _thoughts(item: dict[str, Any]) -> Iterator[Part]:
    for block in (*dicts(item.get("summary")), *dicts(item.get("content"))):
        if isinstance(thought := block.get("text"), str):
            yield parts.reasoning(thought)
