"""
Older SDKs: the same small application against the oldest and newest versions that work, in processes of their own.

Each version is installed beside the interpreter's own packages, once, into `$XDG_CACHE_HOME/otel-llm-tests`.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_llm.testing import ProviderServer, Reply

PROGRAM = Path(__file__).parent / "sdk_program.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-llm-tests"
UNREACHABLE = re.compile("dns error|connect|network|timed out|could not be reached|proxy", re.IGNORECASE)

OPENAI_USAGE = {"prompt_tokens": 1021, "completion_tokens": 37, "total_tokens": 1058}
CLAUDE_USAGE = {"input_tokens": 521, "cache_read_input_tokens": 500, "output_tokens": 37}
TOLD, UNTOLD = (1021, 37), (None, None)

VERSIONS = [
    ("openai", ["openai==1.0.0", "httpx<0.28"]),
    ("openai", ["openai==1.109.1"]),
    ("openai", ["openai==2.54.0"]),
    ("openai", ["openai==3.52.0"]),
    ("anthropic", ["anthropic==0.16.0", "httpx<0.28"]),
    ("anthropic", ["anthropic==0.125.0"]),
    ("anthropic", ["anthropic==2.11.0"]),
    ("groq", ["groq==0.4.0", "httpx<0.28"]),
    ("groq", ["groq==1.7.0"]),
]


def installed(requirements):
    """
    Install packages into a folder of their own, or give the one where they are.
    """
    folder = CACHE / re.sub(
        r"[^\w.]+", "-", f"py{sys.version_info.major}.{sys.version_info.minor}-{'-'.join(requirements)}"
    )
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    run = subprocess.run(
        [*installer(), "--target", unfinished, *requirements], capture_output=True, text=True, check=False
    )
    if run.returncode and UNREACHABLE.search(run.stderr):
        pytest.skip("the package registry cannot be reached")
    assert run.returncode == 0, run.stderr
    unfinished.rename(folder)
    return folder


def installer():
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    assert importlib.util.find_spec("pip"), "installing SDKs needs uv or pip"
    return [sys.executable, "-m", "pip", "install", "--quiet"]


def run_program(sdk, mode, folder, server, tmp_path):
    """
    Run the application with this version of the SDK, and give what it printed.
    """
    server.clear()
    script(server, sdk)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "URL": server.openai_url if sdk == "openai" else server.url,
        "NO_PROXY": "127.0.0.1",
        "XDG_STATE_HOME": str(tmp_path),
    }
    command = [sys.executable, PROGRAM, sdk, mode]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    told = json.loads(re.sub("0{12}[0-9a-f]{12}", "N", run.stdout))
    wire = sorted(re.sub(rb"traceparent: \S+\r\n", b"", request.wire) for request in server.requests)
    return told["seen"], told["records"], wire, run.stderr


def script(server, sdk):
    usage = CLAUDE_USAGE if sdk == "anthropic" else OPENAI_USAGE
    limited = Reply.rate_limited()
    server.default = Reply(usage=usage)
    for model in ("retry", "retry-stream", "async-retry"):
        server.queue("", limited, containing=f'm-{model}-"'.encode())
    server.queue("", *[limited] * 5, containing=b'm-limited-"')
    server.queue("", Reply(status=401), containing=b'm-unauthorized-"')


def expected(sdk):
    """
    Give what each call's record has to tell: status, attempts, tokens.
    """
    streamed = TOLD if sdk == "anthropic" else UNTOLD
    return {
        "plain": ("success", 1, TOLD),
        "stream": ("success", 1, streamed),
        "retry": ("success", 2, TOLD),
        "retry-stream": ("success", 2, streamed),
        "limited": ("rate_limited", 3, UNTOLD),
        "unauthorized": ("error", 1, UNTOLD),
        **{f"async-{number}": ("success", 1, TOLD) for number in range(3)},
        "async-stream": ("success", 1, streamed),
        "async-retry": ("success", 2, TOLD),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("sdk", "requirements"), VERSIONS, ids=[requirements[0] for _, requirements in VERSIONS])
def test_version_is_unchanged_and_captured(sdk, requirements, tmp_path):
    """
    With this version the application sees the same, sends the same, and each of its calls is one record.
    """
    folder = installed(requirements)
    with ProviderServer() as server:
        bare = run_program(sdk, "bare", folder, server, tmp_path)
        captured = run_program(sdk, "captured", folder, server, tmp_path)
    records = {record["gen_ai.request.model"][2:-1]: record for record in captured[1]}
    abandoned = records.pop("abandoned")["otel_llm.status"]
    told = {model: summary(record) for model, record in records.items()}
    assert (captured[0], captured[2], captured[3]) == (bare[0], bare[2], bare[3])
    assert (told, abandoned, len(captured[1])) == (expected(sdk), "cancelled", 12)


def summary(record):
    tokens = record.get("gen_ai.usage.input_tokens"), record.get("gen_ai.usage.output_tokens")
    return record["otel_llm.status"], record["otel_llm.attempts"], tokens
