"""
An application that another GenAI instrumentation observes already, and we beside it.

Theirs makes the span, ours puts on it what it alone knows, makes the record, and leaves the metrics to who makes them.
anthropic's SDK has a span of its own, inside theirs: there ours is on the SDK's.
"""

import contextlib
import json
import sqlite3
from dataclasses import dataclass, field

import pytest
from environments import environment
from observed import CONFORMANCE, observe

from otel_llm.testing import ProviderServer, Reply

pytestmark = pytest.mark.slow
NATIVE = "com.anthropic.sdk.python"
FAILED = "openai refused"
PRICED = {
    "openai chat",
    "openai stream",
    "openai async",
    "openai retried",
    "openai embeddings",
    "anthropic message",
    "anthropic stream",
}


@dataclass(frozen=True)
class Peer:
    """
    Another instrumentation: what to install, and how its spans look.
    """

    packages: tuple[str, ...]
    scopes: tuple[str, ...]
    metered_by: str
    """Who records tokens: they, we, or nobody."""
    extra: dict = field(default_factory=dict)
    """Further spans that it makes of a call."""
    native: bool = True
    """Whether the anthropic SDK that it takes has spans of its own."""


SDKS = ("openai>=3", "anthropic>=2")
PEERS = {
    "genai": Peer(
        (
            *SDKS,
            "opentelemetry-instrumentation-genai-openai==1.3b0",
            "opentelemetry-instrumentation-genai-anthropic==1.3b0",
        ),
        ("opentelemetry.instrumentation.genai.openai", "opentelemetry.instrumentation.genai.anthropic"),
        metered_by="they",
    ),
    "openllmetry": Peer(
        (*SDKS, "opentelemetry-instrumentation-openai", "opentelemetry-instrumentation-anthropic"),
        ("opentelemetry.instrumentation.openai.v1", "opentelemetry.instrumentation.anthropic"),
        metered_by="they",
    ),
    "openinference": Peer(
        (*SDKS, "openinference-instrumentation-openai", "openinference-instrumentation-anthropic"),
        ("openinference.instrumentation.openai", "openinference.instrumentation.anthropic"),
        metered_by="we",
    ),
    "logfire": Peer(
        (*SDKS, "logfire"),
        ("logfire.openai", "logfire.anthropic"),
        metered_by="nobody",  # it suppresses what is below it, and has no such metric itself
        extra={"openai stream": 1, "anthropic stream": 1},  # "streaming response … took …"
    ),
    "openlit": Peer(
        ("openai", "anthropic", "openlit>=1.45"),
        ("openlit.instrumentation.openai", "openlit.instrumentation.anthropic"),
        metered_by="they",
        native=False,
    ),
}


@pytest.fixture(scope="module", params=PEERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def peer(name):
    return PEERS[name]


@pytest.fixture(scope="module")
def observed(name, peer, tmp_path_factory):
    """
    Make a few calls under both, and read what left and what our sink was given.
    """
    folder = tmp_path_factory.mktemp(name)
    sink = {"OTEL_LLM_SINKS": "sqlite", "OTEL_LLM_SQLITE_PATH": str(folder / "calls.db")}
    observed = _run(name, peer, folder, sink)
    with contextlib.closing(sqlite3.connect(folder / "calls.db")) as database:
        observed.rows = [json.loads(event) for (event,) in database.execute("SELECT event FROM llm_calls")]
    return observed


@pytest.fixture(scope="module")
def unsampled(name, peer, tmp_path_factory):
    """
    Make the same calls with no span sampled.
    """
    return _run(name, peer, tmp_path_factory.mktemp(name), {"OTEL_TRACES_SAMPLER": "always_off"})


def _run(name, peer, folder, settings):
    python = environment(name, *peer.packages)
    with ProviderServer() as provider:
        provider.queue("/chat/completions", Reply(status=401), containing=b"fails-401")
        provider.queue("/chat/completions", Reply.rate_limited(), containing=b"Try again.")
        observed = observe(
            CONFORMANCE / "both_sdks.py",
            folder,
            python=python,
            **provider.environment,
            PEER=name,
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="httpx,httpx2,requests,urllib,urllib3,aiohttp-client",
            OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT="true",
            **settings,
        )
    assert observed.returncode == 0, observed.stderr
    assert "otel-llm" not in observed.stderr
    return observed


@pytest.fixture
def spans(observed):
    """
    Give the spans of calls, by the situation that they were made in.
    """
    return _by_situation(observed, [span for span in observed.spans if _is_call(span)])


@pytest.fixture
def records(observed):
    return _by_situation(observed, observed.records)


def _is_call(span):
    return span["scope"].startswith((NATIVE, "otel_llm", "opentelemetry.instr", "openinf", "openlit", "logfire."))


def _by_situation(observed, rows):
    """
    Sort by trace: the application opened one for each situation.
    """
    names = {span["trace_id"]: span["name"] for span in observed.spans if span["scope"] in {"application", "logfire"}}
    names |= {row["trace_id"]: row["name"] for row in observed.spans if row["name"] in PRICED | {FAILED}}
    told = {name: [] for name in (*PRICED, FAILED)}
    for row in rows:
        told[names[row["trace_id"]]].append(row)
    return told


def test_no_span_is_added(spans, peer):
    """
    There are their spans and the SDK's own, and none of ours.
    """
    for situation, found in spans.items():
        native = situation.startswith("anthropic") and peer.native
        assert sorted(span["scope"] for span in found) == sorted(
            [peer.scopes[situation.startswith("anthropic")]] * (1 + peer.extra.get(situation, 0)) + [NATIVE] * native
        )


def test_one_record_for_each_call(records, spans):
    """
    Each call has one record of ours, on a span that describes the call.
    """
    for situation, found in records.items():
        (record,) = found
        assert record["span_id"] in {span["span_id"] for span in spans[situation]}


def test_one_row_for_each_call(observed):
    """
    A sink is given each call once, also where the other instrumentation makes a record of it.
    """
    assert {row["scope"]["name"] for row in observed.rows} == {"otel_llm"}
    assert len(observed.rows) == len(PRICED) + 1


def test_cost_and_attempts_are_on_their_span(spans, records, name):
    """
    The span that is the call's has its cost and its attempts, as the record has them.
    """
    for situation in PRICED:
        (record,) = records[situation]
        (span,) = [span for span in spans[situation] if span["span_id"] == record["span_id"]]
        assert span["attributes"]["otel_llm.attempts"] == (2 if situation == "openai retried" else 1)
        if name == "logfire" and situation == "openai stream":
            continue  # its span ends when the stream begins
        assert span["attributes"]["operation.cost"] == record["attributes"]["gen_ai.usage.cost"] > 0
        assert span["attributes"]["otel_llm.usage_source"] == "provider"


def test_failure_is_told_once(spans, records):
    """
    A refused call has its status on their span and its outcome in our record.
    """
    (record,) = records[FAILED]
    assert record["attributes"]["otel_llm.status"] == "error"
    assert [span["attributes"]["http.response.status_code"] for span in spans[FAILED]] == [401]


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_tokens_are_metered_once(observed, sdk, peer):
    """
    At most one party records the tokens of an SDK's calls: the other where it does so itself.
    """
    metering = _metering(observed, sdk)
    assert len(metering) == (peer.metered_by != "nobody")
    assert ("otel_llm" in metering) is (peer.metered_by == "we")


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_unsampled_tokens_are_metered_once(unsampled, sdk, peer):
    """
    So it is where no span is sampled, and theirs cannot be told from any other; each call still has its record.

    Not beside logfire: what it suppresses, without a span to be seen, is like any other call that asks for silence.
    """
    metering = _metering(unsampled, sdk)
    assert len(metering) == (peer.metered_by != "nobody")
    assert len(unsampled.records) == (len(PRICED) + 1 if peer.metered_by != "nobody" else 0)


def _metering(observed, sdk):
    """
    Give the scopes that recorded tokens of an SDK's calls.
    """
    models = {"openai": "gpt-4o", "anthropic": "claude"}[sdk]
    points = observed.points("gen_ai.client.token.usage")
    return {
        point["scope"] for point in points if str(point["attributes"].get("gen_ai.response.model")).startswith(models)
    }
