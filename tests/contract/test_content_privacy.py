"""
Canaries: texts hidden wherever a call holds somebody's data, and looked for in all that leaves or stays on disk.
"""

import pytest
from observed import CONFORMANCE, observe

from otel_llm.testing import ProviderServer, Reply, error_after

KEY = "sk-proj-canaryKeycanaryKeycanaryKey"
CANARY = b"canary"
ECHO = b'{"error": {"message": "Invalid value: \'canary-prompt\'.", "type": "invalid_request_error", "code": "bad"}}'
KEY_ECHO = (
    b'{"error": {"message": "Incorrect API key provided: %s.", "type": "x", "code": "invalid_api_key"}}' % KEY.encode()
)
SITUATIONS = {
    "success": (),
    "stream": (),
    "responses": (),
    "embeddings": (),
    "completions": (),
    "abandoned stream": (),
    "exception of the application": (),
    "provider error": (Reply(status=400),),
    "retried": (Reply.rate_limited(), Reply(status=500)),
    "key echoed": (Reply(status=401, body=KEY_ECHO),),
    "error in a stream": (Reply(edit=error_after(2)),),
    "answer that is no JSON": (Reply(body=b"<html>canary-answer</html>", headers={"content-type": "text/html"}),),
    "answer of another shape": (Reply(body=b'{"choices": "canary-answer", "model": 5, "usage": "canary-answer"}'),),
    "answer cut off": (Reply(cut_after=1, chunk_size=20),),
    "connection error": (),
    "own failure at the start": (),
    "own failure while reading": (),
    "own failure at the end": (),
}


@pytest.fixture(scope="module")
def provider():
    with ProviderServer(default=Reply(text="canary-answer", headers={"x-canary": "canary-header"})) as running:
        yield running


@pytest.fixture
def run(provider, tmp_path):
    """
    Make one call in some situation, to a sink that cannot be opened, so that the record stays in the journal.
    """

    def run(situation, **settings):
        provider.clear()
        provider.queue("/chat/completions", *SITUATIONS.get(situation, ()))
        (tmp_path / "file").touch()
        sink = {"OTEL_LLM_SINKS": "sqlite", "OTEL_LLM_SQLITE_PATH": str(tmp_path / "file" / "calls.db")}
        return observe(
            CONFORMANCE / "canaries.py",
            tmp_path / "told",
            **provider.environment,
            **{
                "SITUATION": situation,
                "CANARY_KEY": KEY,
                "OTEL_LLM_LOG_LEVEL": "debug",
                "OTEL_LLM_EXIT_TIMEOUT_MS": "100",
                "OTEL_LLM_EXCEPTION_EVENT": "true",
                **sink,
                **settings,
            },
        )

    return run


def places(folder, observed):
    """
    Give all that left or stayed, by where it is.
    """
    told = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return told | {"stderr": observed.stderr.encode(), "stdout": observed.stdout.encode()}


def found(told, canary=CANARY):
    return {place: _around(text, canary) for place, text in told.items() if canary in text}


def _around(text, canary):
    at = text.index(canary)
    return text[max(at - 60, 0) : at + 60]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_leaves_unasked(run, tmp_path, situation):
    """
    With content off, no prompt, answer, tool, metadata, header or key is in any signal, journal, log or error.
    """
    observed = run(situation)
    assert observed.returncode == 0, observed.stderr
    told = places(tmp_path / "told", observed)
    assert "Traceback" not in observed.stderr
    assert found(told) == {}
    if not situation.startswith("own failure at"):
        assert len(observed.records) == 1
        assert [place for place in told if place.startswith("journal/") and len(told[place]) > 100]
