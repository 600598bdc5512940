"""A chat completion about an image at an address and an image in the request."""

from openai import OpenAI

PIXEL = "data:image/png;base64,iVBORw0KGgo="

OpenAI().chat.completions.create(
    model="gpt-4o-mini",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Describe both images."},
                {"type": "image_url", "image_url": {"url": "https://example.com/image.png"}},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        }
    ],
)
