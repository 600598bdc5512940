"""A response for which the provider searches the web itself."""

from openai import OpenAI

OpenAI().responses.create(model="gpt-4o-mini", input="Search for OpenTelemetry.", tools=[{"type": "web_search"}])
