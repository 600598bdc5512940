"""A conversation in two turns: the model uses a tool, and is told the result."""

from anthropic import Anthropic

SCHEMA = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TOOL = {"name": "get_weather", "description": "Tells the weather.", "input_schema": SCHEMA}

client = Anthropic()
ask = {"model": "claude-sonnet-4-6", "max_tokens": 100, "tools": [TOOL]}
messages = [{"role": "user", "content": "How is the weather in Lisbon?"}]
answer = client.messages.create(**ask, messages=messages)
messages.append({"role": "assistant", "content": [part.model_dump() for part in answer.content]})
results = [
    {"type": "tool_result", "tool_use_id": part.id, "content": "sunny"}
    for part in answer.content
    if part.type == "tool_use"
]
messages.append({"role": "user", "content": results})
client.messages.create(**ask, messages=messages)
