"""
Messages and their parts in the shapes of the GenAI message schemas, for every dialect.
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from otel_llm_instrumentation.dialects.decoding import parsed

Part: TypeAlias = dict[str, object]
Message: TypeAlias = dict[str, object]


def message(role: str, parts: Iterable[Part], **more: str | None) -> Message:
    """
    Give a message; what is None in `more` (`name`, `finish_reason`) is left out.
    """
    return {"role": role, "parts": list(parts), **{key: value for key, value in more.items() if value is not None}}


def text(content: str) -> Part:
    """
    Give a text part.
    """
    return {"type": "text", "content": content}


def reasoning(content: str) -> Part:
    """
    Give a part of the model's reasoning.
    """
    return {"type": "reasoning", "content": content}


def tool_call(call_id: object, name: object, arguments: object) -> Part:
    """
    Give a call of the user's tool; arguments that are JSON text are parsed.
    """
    values = parsed(arguments) if isinstance(arguments, str) and arguments else arguments or None
    return {"type": "tool_call", "id": _string(call_id), "name": _string(name) or "", "arguments": values}


def tool_response(call_id: object, response: object) -> Part:
    """
    Give what the user's tool answered.
    """
    return {"type": "tool_call_response", "id": _string(call_id), "response": response}


def server_tool_call(call_id: object, name: str, details: dict[str, object]) -> Part:
    """
    Give a call of a tool that the provider runs.
    """
    return {"type": "server_tool_call", "id": _string(call_id), "name": name, "server_tool_call": details}


def server_tool_response(call_id: object, details: dict[str, object]) -> Part:
    """
    Give what a tool of the provider answered.
    """
    return {"type": "server_tool_call_response", "id": _string(call_id), "server_tool_call_response": details}


def blob(data: str, modality: str, mime_type: str | None = None) -> Part:
    """
    Give inline data, in base64.
    """
    return {"type": "blob", "mime_type": mime_type, "modality": modality, "content": data}


def stored(file_id: str, modality: str) -> Part:
    """
    Give a file that lies with the provider.
    """
    return {"type": "file", "modality": modality, "file_id": file_id}


def linked(url: str, modality: str) -> Part:
    """
    Give what a URL stands for: a blob for `data:`, else the address itself.
    """
    if not url.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": url}
    header, _, payload = url.removeprefix("data:").partition(",")
    kind, *options = header.split(";")
    data = payload if "base64" in options else b64encode(unquote_to_bytes(payload)).decode()
    return blob(data, modality, kind or None)


def dicts(value: object) -> list[dict[str, Any]]:
    """
    Give the objects of a list; nothing when it is no list.
    """
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None
