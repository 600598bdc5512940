"""A response that calls a tool, and one that is told the result."""

from openai import OpenAI

PARAMETERS = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "get_weather", "description": "Tells the weather.", "parameters": PARAMETERS}

client = OpenAI()
history = [{"role": "user", "content": "How is the weather in Lisbon?"}]
output = client.responses.create(model="gpt-4o-mini", input=history, tools=[TOOL]).output
history += [item.model_dump(exclude_none=True) for item in output]
history += [
    {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
    for item in output
    if item.type == "function_call"
]
client.responses.create(model="gpt-4o-mini", input=history, tools=[TOOL])
