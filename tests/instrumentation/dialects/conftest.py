"""
Recorded traffic and message schemas from beside the project; tests that need them skip where they are absent.
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from jsonschema import Draft202012Validator

from otel_llm.capture.dialect import Response, StreamReader

SHARED = Path(__file__).parents[4] / "shared"


class Recording(NamedTuple):
    path: str
    status: int
    streamed: bool
    request: bytes
    answer: bytes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """
    Run a test that takes `openai_recording` or `anthropic_recording` once per recorded exchange.
    """
    for provider in ("openai", "anthropic"):
        if f"{provider}_recording" in metafunc.fixturenames:
            metafunc.parametrize(f"{provider}_recording", _recordings(provider))


def _recordings(provider: str) -> list[Any]:
    folder = SHARED / "cassettes" / provider
    return [
        pytest.param(recording, id=f"{file.stem}-{number}")
        for file in sorted(folder.glob("*.yaml"))
        for number, recording in enumerate(_read(file))
    ] or [pytest.param(None, marks=pytest.mark.skip("no recorded traffic beside the project"))]


@pytest.fixture(scope="session")
def valid() -> Callable[[str, Any], Any]:
    """
    Check a value against a message schema, and give it back.
    """
    folder = SHARED / "semconv" / "schemas"
    if not folder.exists():
        pytest.skip("no message schemas beside the project")
    validators = {
        file.stem: Draft202012Validator(json.loads(file.read_text(encoding="utf-8"))) for file in folder.glob("*.json")
    }

    def check(name: str, value: Any) -> Any:
        validators[f"gen-ai-{name}"].validate(value)
        return value

    return check


@pytest.fixture(scope="session")
def replay() -> Callable[..., Response]:
    """
    Feed a recorded stream to a reader, event by event, and give what it learned.
    """

    def replay(reader: StreamReader, answer: bytes) -> Response:
        for data, event in _frames(answer):
            reader.feed(data, event)
        return reader.finish()

    return replay


def _read(file: Path) -> Iterator[Recording]:
    for interaction in yaml.safe_load(file.read_text(encoding="utf-8"))["interactions"]:
        request, response = interaction["request"], interaction["response"]
        answer = _bytes(response["body"])
        streamed = answer.startswith((b"data:", b"event:"))
        path = "/" + request["uri"].split("/", 3)[3]
        yield Recording(path, response["status"]["code"], streamed, _bytes({"string": request["body"]}), answer)


def _frames(answer: bytes) -> Iterator[tuple[bytes, bytes]]:
    for block in answer.replace(b"\r\n", b"\n").split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"data" in fields:
            yield fields[b"data"], fields.get(b"event", b"")


def _bytes(body: dict[str, Any]) -> bytes:
    if "base64_string" in body:
        return base64.b64decode(body["base64_string"])
    data = body.get("string") or b""
    data = data.encode() if isinstance(data, str) else data
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
