"""
What tests of otel-llm, of its plugins and of applications that use it need: a provider to call, a sink to look into.

`ProviderServer` is a real HTTP server that speaks the wire formats of OpenAI and Anthropic; `Reply` scripts what it
does wrong. `RecordingSink` keeps what it was sent. `python -m otel_llm.testing` runs the server by itself.
"""

from otel_llm.testing.reply import Reply, error_after, malformed_after
from otel_llm.testing.server import ProviderServer
from otel_llm.testing.sink import RecordingOptions, RecordingSink
from otel_llm.testing.wire import Received

__all__ = [
    "ProviderServer",
    "Received",
    "RecordingOptions",
    "RecordingSink",
    "Reply",
    "error_after",
    "malformed_after",
]
