"""
How providers are called: by people, by the GenAI conventions and by genai-prices.
"""

from typing import Final

_SPELLINGS: Final = {
    "aws.bedrock": ("aws", "bedrock", "aws-bedrock", "amazon-bedrock"),
    "azure.ai.inference": ("azure-inference", "azure-ai-inference"),
    "azure.ai.openai": ("azure", "azure-openai", "azure-ai-openai"),
    "fireworks": ("fireworks-ai",),
    "gcp.gemini": ("gemini", "google", "aistudio", "google-ai-studio"),
    "gcp.vertex_ai": ("vertex", "vertex-ai", "vertexai", "google-vertex"),
    "ibm.watsonx.ai": ("watsonx", "ibm"),
    "mistral_ai": ("mistral", "mistral-ai", "mistralai"),
    "moonshot_ai": ("moonshot", "moonshot-ai", "moonshotai", "kimi"),
    "together": ("together-ai", "togetherai"),
    "x_ai": ("xai", "x-ai", "grok"),
    "zhipu_ai": ("zhipu", "zai", "z-ai"),
}

_CANONICAL: Final = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}

_BOOK: Final = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
    "zhipu_ai": "zai",
}

SPELLINGS: Final = frozenset(
    {
        *_SPELLINGS,
        *_CANONICAL,
        *("anthropic", "cerebras", "cohere", "deepseek", "groq", "ollama", "openai", "openrouter", "perplexity"),
    }
)
"""Every spelling that is certainly a provider's; others are names of their own."""


def canonical(name: str) -> str:
    """
    Give the `gen_ai.provider.name` for any spelling of a provider; an unlisted name is its own.
    """
    lower = name.strip().lower()
    return _CANONICAL.get(lower.replace("_", "-"), lower)


def is_known(name: str) -> bool:
    """
    Say whether the name is certainly a provider's.
    """
    return canonical(name) in SPELLINGS


def book_id(provider: str) -> str:
    """
    Give the provider's id in genai-prices.
    """
    return _BOOK.get(provider, provider)
