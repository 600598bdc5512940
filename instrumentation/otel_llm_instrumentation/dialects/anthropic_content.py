"""
Prompts and answers in Anthropic's blocks, told in the shapes of the GenAI message schemas.
"""

from typing import Any, Final

from otel_llm_instrumentation.dialects import message_parts as parts
from otel_llm_instrumentation.dialects.decoding import parsed, plain
from otel_llm_instrumentation.dialects.message_parts import Message, Part, dicts

_DELTAS: Final = {"text": "text", "thinking": "thinking", "partial_json": "input", "content": "content"}
"""Fields of a delta, and what they add to in their block."""

_OF_THE_BLOCK: Final = frozenset({"id", "type", "name", "tool_use_id"})


def input_messages(messages: object) -> list[Message]:
    """
    Give the turns of a prompt.
    """
    return [parts.message(str(turn.get("role")), content_parts(turn.get("content"))) for turn in dicts(messages)]


def output_message(blocks: object, reasons: tuple[str, ...]) -> list[Message] | None:
    """
    Give the one message that an answer is; None when nothing came.
    """
    told = content_parts(blocks)
    return [parts.message("assistant", told, finish_reason=next(iter(reasons), None))] if told else None


def content_parts(content: object) -> list[Part]:
    """
    Give the parts of a content, which may be one string.
    """
    if isinstance(content, str):
        return [parts.text(content)] if content else []
    return [part for block in dicts(content) if (part := _part(block)) is not None]


def tool_definitions(tools: object) -> list[dict[str, object]] | None:
    """
    Give type and name of each tool; one without a name is called what it is.
    """
    return [_tool_definition(tool) for tool in dicts(tools)] or None


class BlockTranscript:
    """
    Puts streamed content blocks together.
    """

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: dict[int, _StreamedBlock] = {}

    def add(self, data: bytes) -> None:
        """
        Take one event.
        """
        match plain(data):
            case {"type": "content_block_start", "index": int(index), "content_block": dict(block)}:
                self._blocks[index] = _StreamedBlock(block)
            case {"type": "content_block_delta", "index": int(index), "delta": dict(delta)} if index in self._blocks:
                self._blocks[index].add(delta)

    def blocks(self) -> list[dict[str, Any]]:
        """
        Give the blocks as an answer in one piece has them.
        """
        return [block.whole() for _, block in sorted(self._blocks.items())]


class _StreamedBlock:
    """
    One content block and its deltas.
    """

    __slots__ = ("_block", "_pieces")

    def __init__(self, block: dict[str, Any]) -> None:
        self._block = block
        self._pieces: dict[str, list[str]] = {}

    def add(self, delta: dict[str, Any]) -> None:
        """
        Take one delta.
        """
        for delta_field, block_field in _DELTAS.items():
            if isinstance(piece := delta.get(delta_field), str):
                self._pieces.setdefault(block_field, []).append(piece)

    def whole(self) -> dict[str, Any]:
        """
        Give the block as an answer in one piece has it.
        """
        return {**self._block, **{field: self._joined(field) for field in self._pieces}}

    def _joined(self, field: str) -> object:
        told = "".join(self._pieces[field])
        return parsed(told) if field == "input" else f"{self._block.get(field) or ''}{told}"


def _tool_definition(tool: dict[str, Any]) -> dict[str, object]:
    kind = tool.get("type") or "custom"
    return {"type": "function" if kind == "custom" else str(kind), "name": str(tool.get("name") or kind)}


def _part(block: dict[str, Any]) -> Part | None:  # noqa: PLR0911 - one way out per kind of block
    match block:
        case {"type": "text", "text": str(text)}:
            return parts.text(text)
        case {"type": "thinking", "thinking": str(thought)} | {"type": "redacted_thinking", "data": str(thought)}:
            return parts.reasoning(thought)
        case {"type": "tool_use"}:
            return parts.tool_call(block.get("id"), block.get("name"), block.get("input"))
        case {"type": "tool_result"}:
            return parts.tool_response(block.get("tool_use_id"), block.get("content"))
        case {"type": "server_tool_use" | "mcp_tool_use" as kind, "name": str(name)}:
            kind = name if kind == "server_tool_use" else kind
            return parts.server_tool_call(block.get("id"), name, {"type": kind, **_details(block)})
        case {"type": str(kind), "tool_use_id": call_id} if kind.endswith("_tool_result"):
            name = kind if kind == "mcp_tool_result" else kind.removesuffix("_tool_result")
            return parts.server_tool_response(call_id, {"type": name, **_details(block)})
        case {"type": "image" | "document" as kind, "source": dict(source)}:
            return _media(source, kind)
        case {"type": "container_upload", "file_id": str(file_id)}:
            return parts.stored(file_id, "document")
        case {"type": "compaction", "content": str(summary)}:
            return {"type": "compaction", "content": summary}
        case _:
            return None


def _media(source: dict[str, Any], modality: str) -> Part | None:
    match source:
        case {"type": "base64", "data": str(data), **rest}:
            return parts.blob(data, modality, str(rest.get("media_type")))
        case {"type": "url", "url": str(url)}:
            return parts.linked(url, modality)
        case {"type": "file", "file_id": str(file_id)}:
            return parts.stored(file_id, modality)
        case {"type": "text", "data": str(text)} | {"type": "content", "content": str(text)}:
            return parts.text(text)
        case _:
            return None


def _details(block: dict[str, Any]) -> dict[str, object]:
    return {key: value for key, value in block.items() if key not in _OF_THE_BLOCK}
