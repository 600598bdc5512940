"""
A shop that asks a model, once a second; without OPENAI_API_KEY, one that stands in for OpenAI in this process.
"""

import itertools
import os
import signal
import sys
import time
from contextlib import nullcontext

import openai

import otel_llm
from otel_llm.testing import ProviderServer

QUESTION = "Which shoes go with a green hat? Answer in one sentence."


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    key = os.environ.get("OPENAI_API_KEY")
    with nullcontext() if key else ProviderServer() as server:
        client = openai.OpenAI(api_key=key or "sk-local", base_url=server.openai_url if server else None)
        for number in itertools.count():
            ask(client, number)
            time.sleep(1)


def ask(client: openai.OpenAI, number: int) -> None:
    with otel_llm.labels(tenant_id=f"t{number % 3}"):
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": QUESTION}])


if __name__ == "__main__":
    main()
