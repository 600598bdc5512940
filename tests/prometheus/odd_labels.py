"""
An application whose labels have odd names and values, until it is told to end.
"""

import threading

import openai

import otel_llm
from otel_llm.testing import ProviderServer

LONG = "n" * 70
NAMES = ('x"; drop', "Ünï", LONG, "1st", "", "le", "line\nbreak")
TEXTS = ('x"; drop', "Ünï ☃ \U0001f600", "v" * 70, "", '{a="b"} 1')
CHARACTERS = ("two\nlines", "back\\slash\\n", "\x7f", "\0", "\ud800")
VALUES = TEXTS + CHARACTERS


def main():
    otel_llm.configure(metric_labels=NAMES)
    answered = otel_llm.counter("shop.answered", description="Questions that were answered.")
    with ProviderServer() as server, openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
        for value in VALUES:
            with otel_llm.labels(**dict.fromkeys(NAMES, value)):
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
                answered.add(1, {"own": value})
        threading.Event().wait()


if __name__ == "__main__":
    main()
