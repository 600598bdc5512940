"""A message about images and documents, in the request, at an address and as text."""

from anthropic import Anthropic

Anthropic().messages.create(
    model="claude-sonnet-4-6",
    max_tokens=100,
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Describe them."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/image.png"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/document.pdf"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Some text"}},
            ],
        }
    ],
)
