"""A chat completion with every common parameter."""

from openai import OpenAI

OpenAI().chat.completions.create(
    model="gpt-4o-mini",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Say this is a test."},
    ],
    temperature=0.7,
    top_p=0.9,
    max_tokens=100,
    stop=["END"],
    seed=42,
    frequency_penalty=0.5,
    presence_penalty=0.5,
)
