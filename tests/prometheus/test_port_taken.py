"""
The port of the page for Prometheus has another owner: a second process of the service, say.
"""

import os
import socket
import subprocess
import sys

import pytest

from tests.servers.kit import ports

PROGRAM = """
import openai, otel_llm
from otel_llm.testing import ProviderServer
otel_llm.configure(sinks={"stdout": {"style": "line"}})
with ProviderServer() as server, openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
"""


@pytest.mark.slow
def test_records_go_on(tmp_path):
    """
    That nothing is measured is said once; calls are recorded as ever.
    """
    with socket.socket() as owner:
        owner.bind((ports.HOST, 0))
        owner.listen()
        told = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_HOST": ports.HOST,
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(owner.getsockname()[1]),
        }
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=told, capture_output=True, text=True, check=True)
    assert done.stdout.count("openai/gpt-4o chat") == 1
    assert done.stderr.count("exporters are off: OSError") == 1
