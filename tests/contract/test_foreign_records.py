"""
Other instrumentations in the same process, played by hand: their records, and their wrappers.
"""

import contextlib
import json
import sqlite3

import openai
import pytest
from observed import observe
from openai._base_client import SyncAPIClient
from opentelemetry._logs import LogRecord, get_logger
from opentelemetry.instrumentation.utils import suppress_instrumentation

import otel_llm
from otel_llm.telemetry.event import EVENT_NAME
from otel_llm.testing import ProviderServer, Reply

PROGRAM = """
import httpx2, os
from opentelemetry import trace
from opentelemetry._logs import LogRecord, get_logger

GENAI = "opentelemetry.instrumentation.genai.openai"
CHAT = {"gen_ai.operation.name": "chat"}

def record(**attributes):
    get_logger(GENAI).emit(LogRecord(event_name="acme.call", attributes={**CHAT, **attributes}))

with trace.get_tracer(GENAI).start_as_current_span("chat gpt-4o", attributes=CHAT):
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    answer = httpx2.post(url, json={"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}).json()
    record(told="on the same span")
    with trace.get_tracer("app").start_as_current_span("elsewhere in the trace"):
        record(told="of the same answer", **{"gen_ai.response.id": answer["id"]})
record(told="of another call", **{"gen_ai.response.id": "chatcmpl-other"})
"""


def test_a_record_of_a_call_that_has_one_is_left_out(tmp_path):
    """
    What another instrumentation records of a call that ours describes is not delivered; what only it saw, is.
    """
    with ProviderServer() as provider:
        settings = {"OTEL_LLM_SINKS": "sqlite", "OTEL_LLM_SQLITE_PATH": str(tmp_path / "calls.db")}
        observed = observe(PROGRAM, tmp_path / "told", **provider.environment, **settings)
    assert (observed.returncode, observed.stderr) == (0, "")
    with contextlib.closing(sqlite3.connect(tmp_path / "calls.db")) as database:
        events = [json.loads(event) for (event,) in database.execute("SELECT event FROM llm_calls ORDER BY id")]
    assert len(observed.logs) == 4
    assert [event["attributes"].get("told", "ours") for event in events] == ["ours", "of another call"]


def test_a_record_that_nobody_could_export(telemetry):
    """
    Also where no sink is named, another instrumentation's record costs no exporter its batch.
    """
    get_logger("acme").emit(LogRecord(event_name=EVENT_NAME, body={"half": "\ud800", "seed": 2**70}))
    (record,) = telemetry.logs()
    assert record.body == {"half": "\ufffd", "seed": str(2**70)}


def test_retries_are_one_call_below_a_wrapper_that_was_first(server, telemetry, monkeypatch):
    """
    An instrumentation that took the SDK's request method before us, and put it on a subclass, does not hide it from us.
    """
    otel_llm.uninstrument()
    monkeypatch.setattr(openai.OpenAI, "request", SyncAPIClient.request)
    otel_llm.instrument()
    server.queue("/chat/completions", Reply.rate_limited())
    client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=1)
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
    assert [record["otel_llm.attempts"] for record in telemetry.records(1)] == [2]


@pytest.mark.usefixtures("telemetry")
def test_the_wrapper_is_put_back(monkeypatch):
    """
    Switched off, we leave the SDK's classes as we found them.
    """
    otel_llm.uninstrument()
    method = SyncAPIClient.request
    monkeypatch.setattr(openai.OpenAI, "request", method)
    otel_llm.instrument()
    assert vars(openai.OpenAI)["request"] is not method
    otel_llm.uninstrument()
    assert (vars(openai.OpenAI)["request"], vars(SyncAPIClient)["request"]) == (method, method)


@pytest.mark.parametrize("status", [200, 401])
def test_silence_lasts_through_retries(server, telemetry, capsys, status):
    """
    A suppressed call is not captured at any of its attempts, and nothing goes wrong in our code about it.
    """
    server.queue("/chat/completions", Reply.rate_limited(), Reply(status=status))
    client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=1)
    with suppress_instrumentation(), contextlib.suppress(openai.AuthenticationError):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
    assert (telemetry.spans("otel_llm"), telemetry.records()) == ([], [])
    assert "otel-llm" not in capsys.readouterr().err
