"""
What every provider's answers are made of.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ID = "5e" + "0" * 22
"""Stands in every answer where the server puts the request's own number, in as many characters."""

TEXT = "It is sunny in Lisbon, with a light breeze from the sea."
"""What the model says when nobody scripted anything else."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """
    One request as the answering side sees it.
    """

    path: str
    body: Json
    text: str = TEXT
    usage: Mapping[str, object] | None = None
    cached: bool = False
    """The prompt's marked prefix was seen before."""

    @property
    def words(self) -> list[str]:
        """The words of the answer, each with the space before it: one token each."""
        return re.findall(r"\s*\S+", self.text)

    @property
    def streamed(self) -> bool:
        """Whether the answer is asked for in frames."""
        return bool(self.body.get("stream"))

    def told(self, usage: Json) -> Json:
        """
        Give the usage to report: the scripted keys over the provider's own.
        """
        return {**usage, **(self.usage or {})}


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A status, and a body in the pieces in which the provider would send it.
    """

    pieces: tuple[bytes, ...]
    status: int = 200
    headers: Mapping[str, str] | None = None
    streamed: bool = False


def document(value: Json, *, status: int = 200) -> Answer:
    """
    Answer with one JSON document.
    """
    return Answer((dumps(value),), status)


def frames(values: Iterable[bytes]) -> Answer:
    """
    Answer with server-sent events.
    """
    return Answer(tuple(values), streamed=True)


def data(value: Json) -> bytes:
    """
    Give an unnamed server-sent event, as OpenAI's chat sends them.
    """
    return b"data: " + dumps(value) + b"\n\n"


def named(value: Json) -> bytes:
    """
    Give an event named by its own `type`, as Anthropic and OpenAI's Responses send them.
    """
    return f"event: {value['type']}\n".encode() + data(value)


def dumps(value: object) -> bytes:
    """
    Encode without spaces, as providers do.
    """
    return json.dumps(value, separators=(",", ":")).encode()


def tokens(*parts: object) -> int:
    """
    Count the tokens of a prompt: four bytes of its JSON make one.
    """
    return sum(len(dumps(part)) // 4 + 1 for part in parts if part)


_EXAMPLES: Mapping[str, object] = {"string": "Lisbon", "integer": 3, "number": 1.5, "boolean": True, "null": None}


def example(schema: Json) -> Any:
    """
    Make a value that a simple JSON schema accepts: the arguments of a tool call, a structured answer.
    """
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        return {name: example(part) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [example(schema.get("items", {}))]
    return {} if schema.get("type") == "object" else _EXAMPLES.get(str(schema.get("type")), "Lisbon")
