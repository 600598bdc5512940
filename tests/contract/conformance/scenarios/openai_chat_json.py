"""A chat completion in the shape of a JSON schema."""

from openai import OpenAI

SCHEMA = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
    "additionalProperties": False,
}

OpenAI().chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Name a place."}],
    response_format={"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}},
)
