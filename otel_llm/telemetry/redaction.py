"""
Secrets taken out of texts before anything is emitted.

The patterns know the shapes of common credentials and run in linear time; operators add their own.
"""

import re
from collections.abc import Sequence
from typing import Final

from otel_llm.telemetry.safe_values import DEEPEST, as_text

MASK: Final = "[REDACTED]"


def _alone(start: str, word: str = "A-Za-z0-9") -> str:
    """
    Let a credential begin only where a word does, which `risk-assessment` does not, or after a line break's escape.

    Looked at behind the letters it begins with, this keeps the search for them quick.
    """
    return rf"{start}(?:(?<![{word}]{start})|(?<=\\[nrt]{start}))"


_SECRETS: Final = (
    _alone("sk-") + r"[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, OpenRouter, DeepSeek
    *(
        _alone(f"{vendor}[_-]") + r"[A-Za-z0-9_-]{20,}"
        for vendor in ("gsk", "xai", "pplx", "fw", "csk", "hf", "r8", "nvapi")
    ),
    r"AIza[A-Za-z0-9_-]{30,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",
    r"github_pat_[A-Za-z0-9_]{30,}",
    r"xox[abprs]-[A-Za-z0-9-]{10,}",
    # Begun at each `eyJ` inside a long run of letters, this would take quadratic time.
    _alone("eyJ", "A-Za-z0-9_-") + r"[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}",
    r"(?i:(?:api[_-]?key|x-api-key|authorization|password|secret)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]{8,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----",
)

_SECRET_NAME: Final = re.compile(r"(?i)(?:^|[_-])(?:api_?-?key|authorization|password|secret)$")


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

    def value(self, value: object, depth: int = DEEPEST) -> object:
        """
        Redact every text inside a JSON-like value; what is nested deeper than `depth` becomes one text.
        """
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, dict | list | tuple):
            return value
        if depth == 0:
            return self.text(as_text(value))
        if isinstance(value, dict):
            return {
                key: MASK if _is_secret(key, inner) else self.value(inner, depth - 1) for key, inner in value.items()
            }
        return [self.value(inner, depth - 1) for inner in value]


def _is_secret(name: object, value: object) -> bool:
    """
    Tell a credential by the name it has in a structure: `{"password": "…"}`, as in the arguments of a tool.
    """
    return isinstance(name, str) and isinstance(value, str) and _SECRET_NAME.search(name) is not None
