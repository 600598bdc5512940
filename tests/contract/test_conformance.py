"""
The conformance scenarios of OpenTelemetry's own instrumentations, against a mock server of a third party.

Each scenario is a plain program. It runs once under our entry points alone and once under OpenTelemetry's own
instrumentations: what theirs says of a call, ours says too, with the same value, or a table here gives the reason.
"""

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from environments import environment, node_program
from observed import CONFORMANCE, observe

pytestmark = [pytest.mark.slow, pytest.mark.server]
SCENARIOS = sorted(path.stem for path in (CONFORMANCE / "scenarios").glob("*.py"))


@pytest.fixture(scope="module")
def python():
    """
    Make an environment with OpenTelemetry's own instrumentations of both SDKs.
    """
    return environment(
        "genai",
        "openai>=3",
        "anthropic>=2",
        "opentelemetry-instrumentation-genai-openai==1.3b0",
        "opentelemetry-instrumentation-genai-anthropic==1.3b0",
    )


@pytest.fixture(scope="module")
def mock_server():
    """
    Run the mock server and give the variables that point both SDKs to it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = node_program("@copilotkit/aimock", "1.43.0", "llmock")
    fixtures = CONFORMANCE / "aimock.json"
    command = [str(program), "-p", str(port), "-h", "127.0.0.1", "-f", str(fixtures), "--log-level", "silent"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        _answers(f"http://127.0.0.1:{port}/health")
        yield {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": "test",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": "test",
        }
        running.terminate()


def _answers(url):
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="module")
def ours(python, mock_server, tmp_path_factory):
    """
    Run the scenarios under our entry points alone.
    """
    settings = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,anthropic", "OTEL_LLM_NATIVE_SPANS": "replace"}
    return _run(tmp_path_factory.mktemp("ours"), python, mock_server | settings)


@pytest.fixture(scope="module")
def theirs(python, mock_server, tmp_path_factory):
    """
    Run the scenarios under OpenTelemetry's own instrumentations alone.
    """
    settings = {
        "OTEL_LLM_ENABLED": "false",
        "ANTHROPIC_OPEN_TELEMETRY": "false",
        "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true",
    }
    return _run(tmp_path_factory.mktemp("theirs"), python, mock_server | settings)


def _run(folder, python, settings):
    content = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT"}
    observed = observe(CONFORMANCE / "every_scenario.py", folder, python=python, **content, **settings)
    assert (observed.returncode, observed.stderr) == (0, "")
    return observed


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    return request.param


def calls(observed, scenario):
    """
    Give the spans of a scenario's calls, in the order they ended.
    """
    (root,) = [span for span in observed.spans if span["name"] == scenario]
    return [span for span in observed.spans if span["trace_id"] == root["trace_id"] and span is not root]


def logs(observed, scenario):
    """
    Give the records of a scenario's calls, in the same order.
    """
    told = {log["span_id"]: log for log in observed.logs}
    return [told[span["span_id"]] for span in calls(observed, scenario) if span["span_id"] in told]


class TestScenarios:
    def test_the_same_calls(self, ours, theirs, scenario):
        """
        There are as many spans, all of them calls, with the same names, kinds and outcomes.
        """
        mine, other = ([_head(span) for span in calls(of, scenario)] for of in (ours, theirs))
        assert mine == other
        assert len(mine) >= 1

    def test_span_attributes(self, ours, theirs, scenario):
        """
        Every attribute of their spans is on ours, with the same value or for a reason given here.
        """
        pairs = zip(calls(ours, scenario), calls(theirs, scenario), strict=True)
        assert [lost for mine, other in pairs for lost in _lost(mine["attributes"], other["attributes"])] == []

    def test_event_attributes(self, ours, theirs, scenario):
        """
        Every attribute of their events is on our records; they have none for embeddings and fetches.
        """
        other = logs(theirs, scenario)
        assert len(other) in {len(calls(theirs, scenario)), 0}
        pairs = zip(logs(ours, scenario), other, strict=False)
        assert [lost for mine, event in pairs for lost in _lost(mine["attributes"], event["attributes"])] == []

    def test_nothing_is_doubled(self, ours, scenario):
        """
        Each of our spans has one record.
        """
        spans = [span["span_id"] for span in calls(ours, scenario)]
        assert [log["span_id"] for log in ours.logs if log["span_id"] in spans] == spans


class TestMetrics:
    def test_series(self, ours, theirs):
        """
        Each series of theirs is one of ours: the same metric, unit and boundaries, at least the same attributes.
        """
        for point in _points(theirs):
            (mine, *_) = _alike(point, ours)
            assert (mine["unit"], mine["bounds"]) == (point["unit"], point["bounds"])

    @pytest.mark.parametrize("name", ["gen_ai.client.operation.duration", "gen_ai.client.token.usage"])
    def test_counts(self, ours, theirs, name):
        """
        Calls are counted as often, and their tokens add up to the same.
        """
        for point in theirs.points(name):
            mine = _alike(point, ours)
            assert sum(one["count"] for one in mine) == point["count"]
            if "token" in name:
                assert sum(one["sum"] for one in mine) == point["sum"]


def _head(span):
    return (span["name"], span["kind"], span["status"])


def _points(observed):
    return [point for point in observed.metrics if point["name"].startswith("gen_ai.")]


def _alike(point, observed):
    """
    Give the points of the same metric that have all of its attributes.
    """
    wanted = _comparable(point["attributes"]).items()
    return [one for one in observed.points(point["name"]) if wanted <= _comparable(one["attributes"]).items()]


def _comparable(attributes):
    """
    Tell failures from successes only: `error.type` is explained below.
    """
    return attributes | {"error.type": "error.type" in attributes}


def _lost(mine, other):
    """
    Give what theirs tells and ours does not.
    """
    for name, value in other.items():
        ours = mine.get(RENAMED.get(name, name))
        if ours is None or (name not in VARIES and _plain(name, ours) != _plain(name, value)):
            yield name, ours, value


RENAMED = {"gen_ai.usage.cache_creation.input_tokens": "gen_ai.usage.cache_write.input_tokens"}
"""Old names that their packages still use."""

VARIES = {
    "gen_ai.response.id": "the mock server mints one for each answer",
    "gen_ai.request.previous_response.id": "as that",
    "gen_ai.response.time_to_first_chunk": "a measurement; ours is of the first chunk with content",
    "error.type": "ours is the provider's code, theirs the class of the SDK's exception; the conventions admit both",
}
"""Attributes that have to be there, but not with the same value, and why."""


def _plain(name, value):
    """
    Leave out of content what says nothing: nulls, order, one message in pieces; and what is left out by default.
    """
    if not name.startswith("gen_ai.") or not name.endswith((".messages", "instructions", ".definitions")):
        return value
    value = json.loads(value) if isinstance(value, str) else value
    if name == "gen_ai.tool.definitions":
        # The conventions leave descriptions and parameters of tools out by default, theirs does not.
        return [{key: tool[key] for key in ("type", "name")} for tool in value]
    if name == "gen_ai.output.messages":
        value = _joined(value)
    return _without_nulls(value)


def _joined(messages):
    """
    Make one message of an answer's parts: theirs makes one of each item of a response.
    """
    parts = [part for message in messages for part in message["parts"]]
    return [{**message, "parts": parts} for message in messages[:1]]


def _without_nulls(value):
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if kept.get("type") == "server_tool_call":
        return kept | {"id": "minted by the mock server"}
    if kept.get("mime_type") == "text/plain":
        # Theirs gives a plain-text document in base64; ours as text, which can be redacted.
        return {"type": "text", "content": base64.b64decode(kept["content"]).decode()}
    return kept
