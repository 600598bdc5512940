"""
A small application, run in a process of its own against any version of an SDK.

The first argument is the SDK, the second `captured` or `bare`. It prints what it saw, and what otel-llm recorded, as
JSON; each call has a model name of its own, by which the server knows what to answer.
"""

import asyncio
import importlib
import json
import os
import sys

MESSAGES = [{"role": "user", "content": "Will it rain in Lisbon?"}]


def main(sdk, mode):
    logs = switch_on() if mode == "captured" else None
    seen = Application(importlib.import_module(sdk)).run()
    records = [dict(log.log_record.attributes) for log in logs.get_finished_logs()] if logs else []
    sys.stdout.write(json.dumps({"seen": seen, "records": records}))


def switch_on():
    from opentelemetry import _logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    import otel_llm

    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    _logs.set_logger_provider(provider)
    otel_llm.configure()
    return exporter


class Application:
    def __init__(self, sdk):
        self.name = sdk.__name__
        kinds = {
            "openai": ("OpenAI", "AsyncOpenAI"),
            "anthropic": ("Anthropic", "AsyncAnthropic"),
            "groq": ("Groq", "AsyncGroq"),
        }[self.name]
        self.kind, self.async_kind = (getattr(sdk, kind) for kind in kinds)
        self.options = {"api_key": "k", "base_url": os.environ["URL"]}
        self.seen = {}

    def run(self):
        client = self.kind(**self.options)
        ask = client.messages.create if self.name == "anthropic" else client.chat.completions.create
        self.note("plain", lambda: text(ask(**self.asked("plain"))))
        self.note("stream", lambda: [chunk(item) for item in ask(**self.asked("stream"), stream=True)])
        self.note("retry", lambda: text(ask(**self.asked("retry"))))
        self.note("retry-stream", lambda: [chunk(item) for item in ask(**self.asked("retry-stream"), stream=True)])
        self.note("limited", lambda: ask(**self.asked("limited")))
        self.note("unauthorized", lambda: ask(**self.asked("unauthorized")))
        self.note("abandoned", lambda: self.abandon(ask(**self.asked("abandoned"), stream=True)))
        client.close()
        asyncio.run(self.run_async())
        return self.seen

    async def run_async(self):
        client = self.async_kind(**self.options)
        ask = client.messages.create if self.name == "anthropic" else client.chat.completions.create
        answers = await asyncio.gather(*(ask(**self.asked(f"async-{number}")) for number in range(3)))
        self.seen["async"] = [text(answer) for answer in answers]
        stream = await ask(**self.asked("async-stream"), stream=True)
        self.seen["async-stream"] = [chunk(item) async for item in stream]
        self.seen["async-retry"] = text(await ask(**self.asked("async-retry")))
        await client.close()

    def asked(self, model):
        more = {"max_tokens": 100} if self.name == "anthropic" else {}
        return {"model": f"m-{model}-", "messages": MESSAGES, **more}

    def abandon(self, stream):
        found = chunk(next(iter(stream)))
        close = getattr(stream, "close", None) or stream.response.close
        close()
        return found

    def note(self, name, step):
        try:
            self.seen[name] = step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            self.seen[name] = [type(error).__name__, str(error)]


def text(answer):
    return answer.content[0].text if hasattr(answer, "content") else answer.choices[0].message.content


def chunk(item):
    if hasattr(item, "choices"):
        return item.choices[0].delta.content if item.choices else "usage"
    return item.type


if __name__ == "__main__":
    main(*sys.argv[1:])
