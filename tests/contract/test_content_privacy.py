"""
Canaries: texts hidden wherever a call holds somebody's data, and looked for in all that leaves or stays on disk.
"""

import contextlib
import sqlite3

import pytest
from observed import CONFORMANCE, observe

from otel_llm.testing import ProviderServer, Reply, error_after

KEY = "sk-proj-canaryKeycanaryKeycanaryKey"
CANARY = b"canary"


def error(message):
    """
    Give a provider's error document with these words.
    """
    return b'{"error": {"message": "%s", "type": "invalid_request_error", "code": "bad"}}' % message.encode()


REPLIES = {
    "success": (),
    "provider-error": (Reply(status=400),),
    "key-echoed": (Reply(status=401, body=error(f"Incorrect API key provided: {KEY}.")),),
    "unknown-error": (Reply(status=422, body=b'{"oops": {"input": "canary-prompt"}}'),),
    "text-error": (Reply(status=422, body=b"canary-prompt is bad"),),
    "list-error": (Reply(status=422, body=b'["canary-prompt"]'),),
    "no-json": (Reply(body=b"<html>canary-answer</html>", headers={"content-type": "text/html"}),),
    "no-json-error": (Reply(status=502, body=b"<html>canary-prompt</html>", headers={"content-type": "text/html"}),),
    "another-shape": (Reply(body=b'{"choices": "canary-answer", "model": ["canary-answer"], "usage": "canary"}'),),
    "cut-off": (Reply(cut_after=1, chunk_size=20),),
}
ODD = {
    "error-in-a-stream": (Reply(edit=error_after(2)),),
    "retried": (Reply.rate_limited(), Reply(status=500)),
    # These SDKs quote such a body in the exception.
    "anthropic-unknown-error": (Reply(status=422, body=b'{"oops": {"input": "canary-prompt"}}'),),
    "anthropic-text-error": (Reply(status=422, body=b"canary-prompt is bad"),),
}
QUOTED = {"quoted": (Reply(status=400, body=error(f"Invalid value: canary-quoted, {KEY}.")),)}
OTHERS = {
    "stream",
    "abandoned-stream",
    "exception-of-the-application",
    "connection-error",
    "responses",
    "embeddings",
    "completions",
    "anthropic",
    "own-failure-while-reading",
}


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    return _run(tmp_path_factory.mktemp("off"), {})


@pytest.fixture(scope="module")
def telling(tmp_path_factory):
    """
    Make the calls with content on spans and records, a key in each prompt.
    """
    settings = {
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
        "CANARY_PROMPT": f"canary-prompt with my key {KEY}",
    }
    return _run(tmp_path_factory.mktemp("on"), settings)


def _run(folder, settings):
    """
    Make the calls with a sink that cannot be opened, so that what it is to get stays in the journal.
    """
    folder.joinpath("file").touch()
    with ProviderServer(default=Reply(text="canary-answer", headers={"x-canary": "canary-header"})) as provider:
        for situation, replies in (REPLIES | ODD | QUOTED).items():
            provider.queue("", *replies, containing=f'"{situation}"'.encode())
        observed = observe(
            CONFORMANCE / "canaries.py",
            folder / "told",
            **provider.environment,
            **{
                "SITUATIONS": ",".join(REPLIES),
                "CANARY_KEY": KEY,
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "httpx,httpx2",  # they tell whole URLs
                "OTEL_LLM_SINKS": "sqlite",
                "OTEL_LLM_SQLITE_PATH": str(folder / "file" / "calls.db"),
                "OTEL_LLM_LOG_LEVEL": "debug",
                "OTEL_LLM_EXIT_TIMEOUT_MS": "100",
                "OTEL_LLM_EXCEPTION_EVENT": "true",
                **settings,
            },
        )
    assert observed.returncode == 0, observed.stderr
    observed.folder = folder / "told"
    return observed


def places(observed):
    """
    Give all that left or stayed, by where it is.
    """
    files = (path for path in observed.folder.rglob("*") if path.is_file())
    told = {str(path.relative_to(observed.folder)): path.read_bytes() for path in files}
    return told | {"stderr": observed.stderr.encode(), "stdout": observed.stdout.encode()}


def found(observed, canary=CANARY):
    """
    Give each place that holds the canary, with what stands around it.
    """
    return {place: _around(text, canary) for place, text in places(observed).items() if canary in text}


def _around(text, canary):
    at = text.index(canary)
    return text[max(at - 80, 0) : at + 80]


class TestContentOff:
    def test_nothing_leaves(self, observed):
        """
        No prompt, answer, tool, metadata, header, query or key is in any signal, journal, log or stack trace.
        """
        assert found(observed) == {}

    def test_our_own_failures_are_said_without_words(self, observed):
        """
        What fails in our code is one line for each place, with the exception's class, and no traceback.
        """
        said = [line for line in observed.stderr.splitlines() if "ValueError" in line]
        assert len(said) == 3
        assert "Traceback" not in observed.stderr

    def test_every_call_was_recorded(self, observed):
        """
        Each situation made its record, but for those that our own broken code kept us from seeing.
        """
        models = {record["attributes"]["gen_ai.request.model"] for record in observed.records}
        assert models == {*REPLIES, *ODD, *OTHERS, "own-failure-at-the-end"}

    def test_records_stayed_in_the_journal(self, observed):
        """
        The search did look into a journal with records in it.
        """
        journal = b"".join(text for place, text in places(observed).items() if place.startswith("journal/"))
        assert b"exception-of-the-application" in journal

    def test_stack_traces_have_no_source_lines(self, observed):
        """
        A frame tells file, line and function; its source may show a prompt.
        """
        traces = [record["attributes"].get("exception.stacktrace", "") for record in observed.records]
        frames = [line for trace in traces for line in trace.splitlines()[1:-1]]
        assert len(frames) > 5
        assert not [frame for frame in frames if not frame.startswith('  File "')]

    def test_a_providers_own_words_are_kept(self, tmp_path):
        """
        The message of a provider's error is told, without keys; what it quotes of the request it tells.
        """
        observed = _run(tmp_path, {"SITUATIONS": "quoted"})
        (record,) = [log for log in observed.records if log["attributes"]["gen_ai.request.model"] == "quoted"]
        assert record["attributes"]["otel_llm.error.message"] == "Invalid value: canary-quoted, [REDACTED]."


class TestContentOn:
    def test_content_is_told_and_keys_are_not(self, telling):
        """
        Prompts are on spans, records and in the journal, the key in them is nowhere.
        """
        told = found(telling, b"canary-prompt with my key [REDACTED]")
        assert {"spans.jsonl", "records.jsonl"} < told.keys()
        assert [place for place in told if place.startswith("journal/")]
        assert found(telling, KEY.encode()) == {}

    @pytest.mark.parametrize("canary", ["header", "cookie", "query", "metadata"])
    def test_what_is_no_content_stays_off(self, telling, canary):
        """
        Asking for prompts and answers asks for nothing else.
        """
        assert found(telling, f"canary-{canary}".encode()) == {}

    def test_content_stays_out_of_logs_and_metrics(self, telling):
        """
        Our own log and the metrics hold no content, whatever is captured.
        """
        assert not {"stderr", "stdout", "metrics.jsonl"} & found(telling).keys()

    @pytest.mark.slow
    def test_operators_patterns_reach_everything(self, tmp_path):
        """
        A pattern of the operator's leaves nothing of what it matches, in any signal.
        """
        settings = {
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
            "OTEL_LLM_REDACT_PATTERNS": "canary-[a-z]+",
        }
        observed = _run(tmp_path, settings)
        assert found(observed) == {}
        assert "records.jsonl" in found(observed, b"[REDACTED]")

    @pytest.mark.slow
    @pytest.mark.parametrize(("content", "kept"), [("none", False), ("full", True)])
    def test_a_sink_may_go_without(self, tmp_path, content, kept):
        """
        A sink whose `content` is `none` gets its records without prompts and answers.
        """
        settings = {
            "SITUATIONS": "success",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY",
            "OTEL_LLM_SQLITE_PATH": str(tmp_path / "calls.db"),
            "OTEL_LLM_SQLITE_CONTENT": content,
            "OTEL_LLM_EXIT_TIMEOUT_MS": "5000",
        }
        _run(tmp_path, settings)
        with contextlib.closing(sqlite3.connect(tmp_path / "calls.db")) as database:
            events = database.execute("SELECT event FROM llm_calls").fetchall()
        assert len(events) > 10
        assert any("canary" in event for (event,) in events) is kept
