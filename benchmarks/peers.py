"""
Who is measured: otel-llm, and what else instruments LLM calls today.

A peer is the environment it lives in and a way to switch it on; everything is imported only then, for no environment
has all of them.
"""

import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

_NO_CONTENT = "NO_CONTENT"


class Peer:
    """
    Nobody: the calls as they are.
    """

    environment: ClassVar[str] = "base"
    only: ClassVar[tuple[str, ...] | None] = None
    """The scenarios that this peer knows; None: all."""

    def switch_on(self) -> None:
        """
        Install the instrumentation in this process.
        """

    def clients(self) -> Any:
        """
        Give the SDKs' client classes as this peer's users get them.
        """
        return SimpleNamespace(**_classes("openai", "OpenAI", "AsyncOpenAI"), **_classes("anthropic", "Anthropic"))

    def flush(self) -> None:
        """
        Bring out what is waiting.
        """


class Instrumented(Peer):
    """
    Any peer that uses the global OpenTelemetry providers.
    """

    def switch_on(self) -> None:
        self.providers = importlib.import_module("providers").Providers()
        self.instrument()

    def instrument(self) -> None:
        """
        Install what is specific to the peer.
        """
        raise NotImplementedError

    def flush(self) -> None:
        self.providers.flush()


class Floor(Instrumented):
    """
    The same signals by hand.
    """

    only = ("chat", "async chat", "stream of 50", "stream of 500")

    def instrument(self) -> None:
        importlib.import_module("floor").install()


class Genai(Instrumented):
    """
    OpenTelemetry's own instrumentations, with the log record.
    """

    environment = "genai"
    content: ClassVar[str] = _NO_CONTENT

    def instrument(self) -> None:
        os.environ["OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"] = "true"
        os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = self.content
        base = "opentelemetry.instrumentation.genai"
        for module, name in ((f"{base}.openai", "OpenAIInstrumentor"), (f"{base}.anthropic", "AnthropicInstrumentor")):
            getattr(importlib.import_module(module), name)().instrument(**self.providers.named())


class GenaiContent(Genai):
    """
    The same with prompts and answers.
    """

    content = "SPAN_AND_EVENT"


class Langfuse(Peer):
    """
    Langfuse's wrapper of the openai client; content is always captured.
    """

    environment = "langfuse"
    only = ("chat", "async chat", "stream of 50", "stream of 500", "not an LLM call")

    def switch_on(self) -> None:
        exporter = importlib.import_module("providers").CountingSpans()
        keys = {"public_key": "pk-lf-benchmark", "secret_key": "sk-lf-benchmark"}  # of nobody
        self._langfuse = importlib.import_module("langfuse").Langfuse(
            **keys, base_url="http://127.0.0.1:9", span_exporter=exporter
        )

    def clients(self) -> Any:
        return importlib.import_module("langfuse.openai")

    def flush(self) -> None:
        self._langfuse.flush()


class OpenLLMetry(Instrumented):
    """
    Traceloop's instrumentations; content is captured unless told otherwise.
    """

    environment = "openllmetry"

    def instrument(self) -> None:
        for module, name in (("openai", "OpenAIInstrumentor"), ("anthropic", "AnthropicInstrumentor")):
            loaded = importlib.import_module(f"opentelemetry.instrumentation.{module}")
            getattr(loaded, name)().instrument(**self.providers.named())


class OpenInference(Instrumented):
    """
    Arize's instrumentations; content is captured unless told otherwise.
    """

    environment = "openinference"

    def instrument(self) -> None:
        for module, name in (("openai", "OpenAIInstrumentor"), ("anthropic", "AnthropicInstrumentor")):
            loaded = importlib.import_module(f"openinference.instrumentation.{module}")
            getattr(loaded, name)().instrument(tracer_provider=self.providers.tracer_provider)


class OtelLLM(Instrumented):
    """
    Span, record, metrics and cost, without a sink.
    """

    environment = "otel-llm"
    settings: ClassVar[dict[str, Any]] = {}
    content: ClassVar[str] = _NO_CONTENT

    def instrument(self) -> None:
        os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = self.content
        self._state = tempfile.TemporaryDirectory(prefix="otel-llm-benchmark-")
        folder = Path(self._state.name)
        importlib.import_module("null_sink").offer(folder)
        self._otel_llm: Any = importlib.import_module("otel_llm")
        self._otel_llm.configure(journal_dir=str(folder / "journal"), **self.settings)
        _loaded_prices()

    def flush(self) -> None:
        self._otel_llm.flush()
        super().flush()


class OtelLLMJournal(OtelLLM):
    """
    The same, journaled (survives kill -9) and delivered to a sink that takes everything.
    """

    settings: ClassVar[dict[str, Any]] = {"sinks": ["null"], "durability": "process"}


class OtelLLMContent(OtelLLM):
    """
    Prompts and answers on span and record, redacted.
    """

    content = "SPAN_AND_EVENT"


PEERS: dict[str, type[Peer]] = {
    "none": Peer,
    "floor": Floor,
    "genai": Genai,
    "genai+content": GenaiContent,
    "langfuse": Langfuse,
    "openllmetry": OpenLLMetry,
    "openinference": OpenInference,
    "otel-llm": OtelLLM,
    "otel-llm+journal": OtelLLMJournal,
    "otel-llm+content": OtelLLMContent,
}


def _classes(module: str, *names: str) -> dict[str, Any]:
    loaded: ModuleType = importlib.import_module(module)
    return {name: getattr(loaded, name) for name in names}


def _loaded_prices() -> None:
    """
    Wait for the price book, which loads in the background.
    """
    from otel_llm import pipeline

    running = pipeline.current()
    if running is not None:
        running.book.ensure()
