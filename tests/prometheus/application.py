"""
An application that is scraped: it calls a provider on this machine, well and badly, until it is told to end.
"""

import contextlib
import itertools
import time

import openai

import otel_llm
from otel_llm.testing import ProviderServer, Reply

CACHED = Reply(usage={"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 800}})
REFUSED = Reply(status=400)

RATED = otel_llm.counter("shop.answers.rated", unit="{answer}", description="Answers that customers rated.")
RATING = otel_llm.histogram("shop.answer.rating", description="How they rated them.", buckets=[1, 2, 3, 4])


def main():
    otel_llm.configure()
    with ProviderServer() as server, openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
        for number in itertools.count():
            _serve(number, server, client)
            time.sleep(0.05)


def _serve(number, server, client):
    with otel_llm.labels(tenant_id=f"t{number % 21}", request=f"r{number}"):
        server.default = REFUSED if number % 4 == 3 else CACHED
        with contextlib.suppress(openai.BadRequestError):
            _ask(client, "gpt-4o" if number % 2 else "gpt-4o-mini", stream=number % 8 == 0)
        RATED.add(1, {"stars": number % 5})
        RATING.record(number % 5)


def _ask(client, model, *, stream):
    question = [{"role": "user", "content": "hi"}]
    if not stream:
        client.chat.completions.create(model=model, messages=question)
        return
    for _ in client.chat.completions.create(
        model=model, messages=question, stream=True, stream_options={"include_usage": True}
    ):
        """Read it all."""


if __name__ == "__main__":
    main()
