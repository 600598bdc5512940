"""
What a third party writes, as it would be installed.

The packages under `examples` are built, unpacked beside an application that knows nothing of them, and switched on from
outside.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from otel_llm.testing import ProviderServer, Reply

EXAMPLES = Path(__file__).parents[2] / "examples"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
APPLICATION = """
import sys, httpx2
url, body = sys.argv[1:]
print(httpx2.post(url, content=body, headers={"content-type": "application/json"}).status_code)
"""


@pytest.fixture(scope="module")
def install(tmp_path_factory):
    """
    Build an example's wheel and unpack it, which is all that installing a pure wheel does.
    """

    def install(example):
        source = tmp_path_factory.mktemp("build") / example
        shutil.copytree(EXAMPLES / example, source)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "out"],
            cwd=source,
            check=True,
            capture_output=True,
        )
        target = tmp_path_factory.mktemp("site")
        zipfile.ZipFile(next(source.glob("out/*.whl"))).extractall(target)
        return target

    return install


@pytest.fixture
def server():
    with ProviderServer() as running:
        yield running


def observe(url, body, site, tmp_path, **settings):
    """
    Run the application under `opentelemetry-instrument`; give what it printed.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(site),
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_LLM_JOURNAL_DIR": str(tmp_path / "journal"),
        **settings,
    }
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    command = [instrument, sys.executable, "-W", "default", "-c", APPLICATION, url, json.dumps(body)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_third_party_sink_receives_a_call(install, server, tmp_path):
    """
    A sink from another package is named in `OTEL_LLM_SINKS`, gets its option from its own variable, and receives.
    """
    ledger = tmp_path / "ledger.tsv"
    said = observe(
        f"{server.openai_url}/chat/completions",
        CHAT,
        install("custom-sink"),
        tmp_path,
        OTEL_LLM_SINKS="acme",
        OTEL_LLM_ACME_PATH=str(ledger),
    )
    lines = [line.split("\t") for line in ledger.read_text().splitlines()]
    assert (said.strip(), [line[1:4] for line in lines]) == ("200", [["gpt-4o-mini", "9", "12"]])


def test_third_party_dialect_reads_a_call(install, server, tmp_path):
    """
    A dialect from another package is used as soon as it is installed; its call is one record with its own tokens.
    """
    answer = {"ticket": "t-1", "engine": "acme-1", "reply": "Sunny.", "spent": {"read": 9, "wrote": 4}}
    server.queue("/acme/v2/ask", Reply(body=json.dumps(answer).encode()))
    event = _observed_by_dialect(server, {"engine": "acme-1", "question": "Rain?"}, install, tmp_path)
    assert event["otel_llm.status"] == "success"
    assert (event["gen_ai.usage.input_tokens"], event["gen_ai.usage.output_tokens"]) == (9, 4)


def test_third_party_dialect_reads_a_stream(install, server, tmp_path):
    """
    The dialect's stream reader is fed the frames of a live answer.
    """
    frames = b'data: {"word":"Sun"}\n\ndata: {"ticket":"t-1","engine":"acme-1","spent":{"read":9,"wrote":1}}\n\n'
    server.queue("/acme/v2/ask", Reply(body=frames, headers={"content-type": "text/event-stream"}, chunk_size=7))
    event = _observed_by_dialect(server, {"engine": "acme-1", "question": "Rain?", "live": True}, install, tmp_path)
    assert (event["gen_ai.response.id"], event["gen_ai.usage.output_tokens"]) == ("t-1", 1)


def _observed_by_dialect(server, body, install, tmp_path):
    url, site, calls = f"{server.url}/acme/v2/ask", install("custom-dialect"), str(tmp_path / "calls.db")
    observe(url, body, site, tmp_path, OTEL_LLM_SINKS="sqlite", OTEL_LLM_SQLITE_PATH=calls)
    with contextlib.closing(sqlite3.connect(calls)) as database:
        ((event,),) = database.execute("SELECT event FROM llm_calls").fetchall()
    return json.loads(event)["attributes"]
