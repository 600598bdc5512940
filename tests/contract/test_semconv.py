"""
Every span, metric and record of real calls, held against the conventions as data.
"""

import functools
import json
import re
from pathlib import Path

import jsonschema
import pytest
from observed import observe

from otel_llm.testing import ProviderServer, Reply

SEMCONV = Path(__file__).parents[3] / "shared" / "semconv"
EVERY_CALL = Path(__file__).parent / "conformance" / "every_call.py"
pytestmark = [
    pytest.mark.skipif(not SEMCONV.exists(), reason="the conventions' data is not beside the project"),
]
CONTENT = {
    "gen_ai.input.messages": "gen-ai-input-messages",
    "gen_ai.output.messages": "gen-ai-output-messages",
    "gen_ai.system_instructions": "gen-ai-system-instructions",
    "gen_ai.tool.definitions": "gen-ai-tool-definitions",
}
STARTED = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "server.address", "server.port")
EVERYWHERE = {
    "user.id": "string",
    "session.id": "string",
    "http.response.status_code": "int",
    "gen_ai.usage.cost": "double",
    "operation.cost": "double",
    "otel_llm.attempts": "int",
    "otel_llm.usage_source": "string",
    "otel_llm.cost.source": "string",
    # The conventions list these for some operations only; they are as true of the others, and `queued` tells why a
    # background response has no usage.
    "gen_ai.conversation.id": "string",
    "gen_ai.request.stream": "boolean",
    "gen_ai.response.time_to_first_chunk": "double",
    "gen_ai.response.status": "string",
}
"""What interface.md, section 3, puts on spans and records besides the conventions' own attributes."""
RECORDS_ONLY = {
    "http.request.method": "string",
    "url.path": "string",
    "http.request.body.size": "int",
    "http.response.body.size": "int",
    "exception.type": "string",
    "exception.message": "string",
    "exception.stacktrace": "string",
}
"""What only records carry, besides `otel_llm.*`."""
KINDS = {
    "chat": "gen_ai.client.inference",
    "text_completion": "gen_ai.client.inference",
    "embeddings": "gen_ai.embeddings.client",
    "fetch_response": "gen_ai.fetch_response.client",
}
TYPES = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "string[]": lambda value: isinstance(value, list) and all(isinstance(part, str) for part in value),
    "any": lambda _value: True,
}
RELEASED = {
    "gen_ai.client.operation.duration": "gen_ai.client.inference.duration",
    "gen_ai.client.operation.time_to_first_chunk": "gen_ai.client.inference.time_to_first_chunk",
    "gen_ai.client.operation.time_per_output_chunk": "gen_ai.client.inference.time_per_output_chunk",
    "gen_ai.client.token.usage": "gen_ai.client.inference.operation.input_tokens",
}
"""Released metric to the one of today's conventions whose unit, buckets and attributes it has."""


@pytest.fixture(scope="module")
def conventions():
    return json.loads((SEMCONV / "gen_ai.json").read_text())


@pytest.fixture(scope="module")
def schemas():
    return {
        attribute: jsonschema.Draft202012Validator(json.loads((SEMCONV / "schemas" / f"{name}.json").read_text()))
        for attribute, name in CONTENT.items()
    }


@pytest.fixture(scope="module")
def provider():
    """
    Run a provider that fails for models named so.
    """
    with ProviderServer() as running:
        running.queue("/chat/completions", *[Reply(status=401)] * 9, containing=b"fails-401")
        running.queue("/chat/completions", *[Reply.rate_limited()] * 999, containing=b"fails-429")
        running.queue("/chat/completions", *[Reply(cut_after=0)] * 999, containing=b"fails-cut")
        running.queue(
            "/embeddings", *[Reply(status=500, headers={"retry-after-ms": "1"})] * 99, containing=b"fails-500"
        )
        running.queue("/messages", *[Reply.rate_limited()] * 99, containing=b"fails-429")
        running.queue("/messages", *[Reply(status=529, headers={"retry-after-ms": "1"})] * 99, containing=b"fails-529")
        yield running


@pytest.fixture(scope="module")
def run(provider, tmp_path_factory):
    """
    Make one call of every kind, once for each content mode; anthropic's own spans are off, so that all spans are ours.
    """

    @functools.cache
    def run(mode):
        provider.queue("/chat/completions", Reply.rate_limited(), containing=b"retried-429")
        names = "next" if mode == "SPAN_AND_EVENT" else "released"
        observed = observe(
            EVERY_CALL,
            tmp_path_factory.mktemp(mode),
            **provider.environment,
            OTEL_LLM_NATIVE_SPANS="replace",
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=mode,
            OTEL_LLM_METRIC_NAMES=names,
        )
        assert observed.returncode == 0, observed.stderr
        assert observed.stderr == ""
        return observed

    return run


@pytest.fixture(
    params=[
        "NO_CONTENT",
        pytest.param("SPAN_ONLY", marks=pytest.mark.slow),
        pytest.param("EVENT_ONLY", marks=pytest.mark.slow),
        "SPAN_AND_EVENT",
    ]
)
def mode(request):
    return request.param


@pytest.fixture
def observed(run, mode):
    return run(mode)


@pytest.fixture
def plain(run):
    """
    Give the run without content, under the released metric names.
    """
    return run("NO_CONTENT")


@pytest.fixture
def following(run):
    """
    Give the run under the next metric names.
    """
    return run("SPAN_AND_EVENT")


def ours(observed):
    return [span for span in observed.spans if span["scope"] == "otel_llm"]


def test_each_call_is_one_span_and_one_record(observed):
    """
    Spans and records pair off by trace and span id; nothing is doubled, nothing is missing.
    """
    spans = sorted((span["trace_id"], span["span_id"]) for span in ours(observed))
    assert spans == sorted((record["trace_id"], record["span_id"]) for record in observed.records)
    assert len(set(spans)) == len(spans) == 44


class TestSpans:
    def test_attributes_are_known_and_typed(self, observed, conventions):
        """
        A span has no attribute that neither the conventions nor interface.md know, and each has its type.
        """
        assert _wrong(ours(observed), conventions, EVERYWHERE) == []

    def test_required_attributes_are_there(self, observed, conventions):
        """
        What is always required is always there, and the model is there whenever there is one.
        """
        missing = [
            (span["name"], name)
            for span in ours(observed)
            for name, rule in _listed(conventions, span["attributes"]).items()
            if rule["level"] == "required" and name not in span["attributes"]
        ]
        assert missing == []

    def test_samplers_see_the_start_attributes(self, observed):
        """
        What identifies a call is given when its span is created.
        """
        started = [
            (span["name"], name)
            for span in ours(observed)
            for name in STARTED
            if span["started"].get(name) != span["attributes"].get(name)
        ]
        assert started == []

    def test_name_kind_and_schema(self, observed):
        """
        A span is named after operation and model, has the kind CLIENT and the schema it was written by.
        """
        for span in ours(observed):
            attributes = span["attributes"]
            told = (attributes["gen_ai.operation.name"], attributes.get("gen_ai.request.model"))
            assert span["name"] == " ".join(part for part in told if part)
            assert (span["kind"], span["schema_url"]) == (
                "CLIENT",
                "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev",
            )

    def test_status_tells_failure_only(self, observed):
        """
        A failed call has the status ERROR and `error.type`, any other leaves the status unset.
        """
        states = {(span["status"], "error.type" in span["attributes"]) for span in ours(observed)}
        assert states == {("UNSET", False), ("ERROR", True)}

    def test_exceptions_are_no_span_events(self, observed):
        """
        Spans carry no events.
        """
        assert [span["events"] for span in ours(observed) if span["events"]] == []

    def test_streams_tell_so_and_others_do_not(self, observed):
        """
        `gen_ai.request.stream` is true or absent; only streams have a first chunk.
        """
        for span in ours(observed):
            streamed = span["attributes"].get("gen_ai.request.stream")
            assert streamed in {None, True}
            assert streamed or "gen_ai.response.time_to_first_chunk" not in span["attributes"]

    def test_openai_attributes_only_of_openai(self, observed):
        """
        `openai.*` stands on calls of OpenAI's APIs and nowhere else.
        """
        others = [span for span in ours(observed) if span["attributes"]["gen_ai.provider.name"] == "anthropic"]
        assert len(others) >= 10
        assert not [name for span in others for name in span["attributes"] if name.startswith("openai.")]


class TestRecords:
    def test_attributes_are_known_and_typed(self, observed, conventions):
        """
        A record has what its span has, and of its own what interface.md lists.
        """
        assert _wrong(observed.records, conventions, EVERYWHERE | RECORDS_ONLY) == []

    def test_records_are_complete(self, observed):
        """
        A record carries every attribute of its span, content apart, with the same values.
        """
        spans = {span["span_id"]: span["attributes"] for span in ours(observed)}
        for record in observed.records:
            shared = {name: value for name, value in spans[record["span_id"]].items() if name not in CONTENT}
            assert shared.items() <= record["attributes"].items()

    def test_severity_follows_the_outcome(self, observed):
        """
        A record is INFO, and ERROR exactly when it has `error.type`.
        """
        severities = {(record["severity"], "error.type" in record["attributes"]) for record in observed.records}
        assert severities == {("INFO", False), ("ERROR", True)}

    def test_outcomes(self, plain):
        """
        Each way to fail has its own status, and the retried call has succeeded at its second attempt.
        """
        told = {
            record["attributes"].get("gen_ai.request.model"): (
                record["attributes"]["otel_llm.status"],
                record["attributes"]["otel_llm.event.type"],
                record["attributes"]["otel_llm.attempts"],
            )
            for record in plain.records
            if record["attributes"]["gen_ai.provider.name"] == "openai"
        }
        assert {
            model: told[model]
            for model in told
            if model and "-" in model and model.split("-")[0] in {"fails", "retried"}
        } == {
            "fails-401": ("error", "error", 1),
            "fails-429": ("rate_limited", "rate_limit", 2),
            "fails-500": ("error", "error", 2),
            "fails-cut": ("error", "error", 2),
            "retried-429": ("success", "api_call", 2),
        }
        assert told["abandoned"][:2] == ("cancelled", "api_call")


class TestContent:
    def test_content_is_where_it_was_asked_for(self, observed, mode):
        """
        Prompts and answers stand on spans, on records, on both or nowhere.
        """
        on_spans = any(name in span["attributes"] for span in ours(observed) for name in CONTENT)
        on_records = any(name in record["attributes"] for record in observed.records for name in CONTENT)
        assert on_spans == (mode in {"SPAN_ONLY", "SPAN_AND_EVENT"})
        assert on_records == (mode in {"EVENT_ONLY", "SPAN_AND_EVENT"})

    def test_content_is_valid(self, observed, schemas):
        """
        Content has the shape of the conventions' schemas: one JSON string on spans, structured on records.
        """
        told = [(name, json.loads(value)) for name, value in _content(ours(observed))]
        told += _content(observed.records)
        wrong = [(name, error.message[:200]) for name, value in told for error in schemas[name].iter_errors(value)]
        assert wrong == []

    def test_every_kind_of_content_is_seen(self, observed, mode):
        """
        With content on, all four attributes occur, and so do the parts of tools, images and reasoning.
        """
        if mode == "NO_CONTENT":
            pytest.skip("no content is captured")
        told = [(name, json.loads(value)) for name, value in _content(ours(observed))] + _content(observed.records)
        kinds = {part["type"] for _, value in told for part in _parts(value)}
        assert {name for name, _ in told} == CONTENT.keys()
        assert {"text", "tool_call", "tool_call_response", "blob", "reasoning"} <= kinds


class TestMetrics:
    def test_released_names(self, plain, conventions):
        """
        The released metrics have the unit, the buckets and the attributes that the conventions advise.
        """
        assert _names(plain) == {*RELEASED, "otel_llm.cost", "otel_llm.cache_read.input_tokens"}
        for released, described in RELEASED.items():
            _check_metric(
                plain.points(released), conventions["metrics"][described], {"gen_ai.token.type", "error.type"}
            )

    def test_next_names(self, following, conventions):
        """
        The next metrics are those of the conventions, and inference does not report `gen_ai.client.operation.duration`.
        """
        expected = {name for name in conventions["metrics"] if name.startswith("gen_ai.client.")}
        assert _names(following) == {*expected, "otel_llm.cost"}
        for name in expected:
            _check_metric(following.points(name), conventions["metrics"][name], set())
        operations = {
            point["attributes"]["gen_ai.operation.name"]
            for point in following.points("gen_ai.client.operation.duration")
        }
        assert operations == {"embeddings", "fetch_response"}

    def test_every_call_is_measured_once(self, plain):
        """
        There are as many durations as calls.
        """
        durations = plain.points("gen_ai.client.operation.duration")
        assert sum(point["count"] for point in durations) == len(plain.records)

    def test_streams_are_measured_once(self, plain):
        """
        A stream counts once in each chunk histogram, however many chunks it had, and nothing else counts there.
        """
        streams = [r for r in plain.records if "gen_ai.response.time_to_first_chunk" in r["attributes"]]
        first = plain.points("gen_ai.client.operation.time_to_first_chunk")
        assert sum(point["count"] for point in first) == len(streams) > 5

    def test_tokens_and_cost_add_up(self, plain):
        """
        The metrics' sums are those of the records that bill.
        """
        billed = [r["attributes"] for r in plain.records if r["attributes"]["otel_llm.usage_source"] == "provider"]
        for kind in ("input", "output"):
            points = [
                point
                for point in plain.points("gen_ai.client.token.usage")
                if point["attributes"]["gen_ai.token.type"] == kind
            ]
            assert sum(p["sum"] for p in points) >= sum(a.get(f"gen_ai.usage.{kind}_tokens", 0) for a in billed) > 0
        money = sum(point["sum"] for point in plain.points("otel_llm.cost"))
        assert money == pytest.approx(sum(r["attributes"].get("gen_ai.usage.cost", 0) for r in plain.records))

    def test_error_type_is_on_durations(self, plain):
        """
        Failures are told apart on the duration metric.
        """
        kinds = {point["attributes"].get("error.type") for point in plain.points("gen_ai.client.operation.duration")}
        assert {None, "rate_limit_exceeded", "invalid_api_key", "server_error", "overloaded_error"} <= kinds


def _names(observed):
    return {point["name"] for point in observed.metrics if point["scope"] == "otel_llm"}


def _check_metric(points, described, extra):
    listed = described["attributes"].keys() | {"gen_ai.token.modality"} | extra
    for point in points:
        assert point["unit"] == described["unit"]
        assert point["instrument"] == described["instrument"]
        assert point.get("bounds") == described["buckets"]
        assert point["attributes"].keys() <= listed
        required = {name for name, rule in described["attributes"].items() if rule["level"] == "required"}
        assert required <= point["attributes"].keys()


def _listed(conventions, attributes):
    """
    Give the rules for the attributes of a call, its provider's refinement included.
    """
    kind = KINDS[attributes["gen_ai.operation.name"]]
    refined = f"{attributes['gen_ai.provider.name']}.{kind.removeprefix('gen_ai.')}"
    extra = conventions["span_refinements"].get(refined.replace(".client.inf", ".gen_ai.client.inf"), {})
    return conventions["spans"][kind]["attributes"] | extra.get("attributes", {})


def _wrong(rows, conventions, extra):
    return [
        (row["attributes"]["gen_ai.operation.name"], name, value)
        for row in rows
        for name, value in row["attributes"].items()
        if not _right(name, value, row["attributes"], conventions, extra)
    ]


def _right(name, value, attributes, conventions, extra):
    if name.startswith("otel_llm."):
        return re.fullmatch(r"otel_llm(\.[a-z0-9_]+)+", name) is not None
    if name in extra:
        return TYPES[extra[name]](value)
    listed = name in _listed(conventions, attributes) or (
        attributes["gen_ai.operation.name"] == "fetch_response" and name.startswith("gen_ai.usage.")
    )
    described = conventions["attributes"].get(name)
    return listed and described is not None and TYPES[described["type"]](value)


def _content(rows):
    return [(name, row["attributes"][name]) for row in rows for name in CONTENT if name in row["attributes"]]


def _parts(value):
    return [part for entry in value for part in entry.get("parts", [entry])]
