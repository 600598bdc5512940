"""What an application says in code: switch on, flush, look at the counts, switch off."""

from collections.abc import Iterable, Mapping
from typing import Any

from otel_llm import instrumentation, pipeline, providers, switch
from otel_llm.delivery.stats import SinkStats

EXIT_SECONDS = 5.0


def configure(
    sinks: Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None, *, otlp: bool = False, **settings: Any
) -> None:
    """
    Switch otel-llm on in this process: providers, pipeline and client plugins.

    Providers are set up where there are none (traces, metrics and logs, exported by OTLP when `otlp` is true or by what
    `OTEL_*_EXPORTER` name) and used where they are. A second call replaces the settings of the first.

    Args:
        sinks: Names of sinks, or their options by name: `{"alerts": {"type": "webhook", "url": "…"}}`.
        otlp: Whether unset exporter variables mean OTLP.
        settings: Any setting, in lower case: `durability="power"`.
    """
    code = dict(settings)
    if sinks is not None:
        code["sinks"] = dict(sinks) if isinstance(sinks, Mapping) else list(sinks)
    pipeline.stop(EXIT_SECONDS)
    if switch.enabled(code):
        providers.ensure(otlp=otlp)
    if pipeline.start(code) is not None:
        instrumentation.instrument()


def flush(timeout: float = EXIT_SECONDS) -> bool:
    """
    Wait until every sink has what was recorded so far; False when `timeout` (seconds) is over before.
    """
    running = pipeline.current()
    return running.flush(timeout) if running is not None else True


def shutdown(timeout: float = EXIT_SECONDS) -> bool:
    """
    Deliver what can be delivered within `timeout` (seconds), leave the rest in the journal, and stop capturing.
    """
    instrumentation.uninstrument()
    return pipeline.stop(timeout)


def stats() -> dict[str, SinkStats]:
    """
    Give each sink's counts; produced + adopted = sent + filtered + dropped + dead + pending + in flight.
    """
    running = pipeline.current()
    return running.stats() if running is not None else {}
