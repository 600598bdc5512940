"""OpenTelemetry instrumentors of our client plugins; none imports the library that it instruments."""

from otel_llm.instrumentation import ClientInstrumentor


class HttpxInstrumentor(ClientInstrumentor):
    """
    Captures what is sent through httpx and httpx2, and the operations of the SDKs on top of them.
    """

    clients = ("operations", "httpx")
