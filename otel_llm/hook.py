"""
What `opentelemetry-instrument` runs before the instrumentors: the pipeline is started, on providers that exist.

It never raises, does nothing when `OTEL_SDK_DISABLED` or `OTEL_LLM_ENABLED` say so, and does its work once.
"""

from otel_llm import switch
from otel_llm.capture.harmless import harmless


@harmless
def pre_instrument() -> None:
    """
    Start the process's pipeline; entry point `opentelemetry_pre_instrument`.
    """
    if not switch.enabled():
        return
    from otel_llm import pipeline, providers

    providers.ensure()
    pipeline.start()
