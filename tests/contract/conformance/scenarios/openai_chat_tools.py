"""A chat in two turns: the model calls a tool, and is told the result."""

from openai import OpenAI

PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Tells the weather.", "parameters": PARAMETERS},
}

client = OpenAI()
messages = [{"role": "user", "content": "How is the weather in Lisbon?"}]
answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[TOOL]).choices[0].message
messages.append(answer)
messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in answer.tool_calls]
client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[TOOL])
