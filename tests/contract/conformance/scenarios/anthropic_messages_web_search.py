"""A message for which the provider searches the web itself."""

from anthropic import Anthropic

Anthropic().messages.create(
    model="claude-sonnet-4-6",
    max_tokens=100,
    messages=[{"role": "user", "content": "Search for OpenTelemetry."}],
    tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}],
)
