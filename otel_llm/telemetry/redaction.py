"""
Secrets taken out of texts before anything is emitted.

The patterns know the shapes of common credentials and run in linear time; operators add their own.
"""

import re
from collections.abc import Sequence
from typing import Final

MASK: Final = "[REDACTED]"

_SECRETS: Final = (
    r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"(?:gsk|xai|pplx|fw|csk|hf|r8|nvapi)[_-][A-Za-z0-9_-]{20,}",
    r"AIza[A-Za-z0-9_-]{30,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",
    r"github_pat_[A-Za-z0-9_]{30,}",
    r"xox[abprs]-[A-Za-z0-9-]{10,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}",
    r"(?i:(?:api[_-]?key|x-api-key|authorization|password|secret)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]{8,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----",
)


class Redactor:
    """
    Replaces credentials, and what the operator's own patterns match, by `[REDACTED]`.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._pattern = re.compile("|".join(f"(?:{pattern})" for pattern in (*_SECRETS, *patterns)))

    def text(self, text: str) -> str:
        """
        Redact one text.
        """
        return self._pattern.sub(MASK, text)

    def value(self, value: object) -> object:
        """
        Redact every text inside a JSON-like value.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value
