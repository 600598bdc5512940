"""
Which requests are LLM calls, of which provider, in which dialect.

Host and path decide. A known host names the provider; on any other host a known path counts too, but only if the
request's body has the dialect's shape. What is not ours is answered from a dictionary.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from otel_llm.capture.dialect import Dialect

HOSTS: Mapping[str, str] = {
    "api.openai.com": "openai",
    "*.api.openai.com": "openai",
    "*.openai.azure.com": "azure.ai.openai",
    "*.cognitiveservices.azure.com": "azure.ai.openai",
    "*.services.ai.azure.com": "azure.ai.inference",
    "*.inference.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "openrouter.ai": "openrouter",
    "api.x.ai": "x_ai",
    "*.api.x.ai": "x_ai",
    "api.mistral.ai": "mistral_ai",
    "codestral.mistral.ai": "mistral_ai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "*aiplatform.googleapis.com": "gcp.vertex_ai",
    "bedrock-runtime.*.amazonaws.com": "aws.bedrock",
    "integrate.api.nvidia.com": "nvidia",
    "api.deepinfra.com": "deepinfra",
    "api.sambanova.ai": "sambanova",
    "api.novita.ai": "novita",
    "api.hyperbolic.xyz": "hyperbolic",
    "inference.baseten.co": "baseten",
    "router.huggingface.co": "huggingface",
    "models.github.ai": "github",
    "dashscope.aliyuncs.com": "alibaba_cloud",
    "dashscope-intl.aliyuncs.com": "alibaba_cloud",
    "api.z.ai": "zhipu_ai",
    "open.bigmodel.cn": "zhipu_ai",
    "api.minimax.io": "minimax",
}
"""Host, exact or a glob, to `gen_ai.provider.name`: a well-known value of the conventions, else the short name."""

_PATHS: Mapping[tuple[str, str], str] = {
    ("azure.ai.inference", "/openai/"): "azure.ai.openai",
    ("azure.ai.openai", "/models/"): "azure.ai.inference",
}
"""Azure serves two APIs on one host: the path tells which."""

PORTS: Mapping[int, str] = {11434: "ollama", 1234: "lm_studio"}
"""What answers on a well-known local port."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - compared with, never bound
_CACHE_SIZE = 4096


class Endpoint(Struct, frozen=True):
    """
    What a request to some host and path is.
    """

    provider: str
    operation: str
    dialect: Dialect
    listed: bool
    """Whether the host is known; if not, the request's body has to confirm the dialect."""


class Endpoints:
    """
    The table that tells LLM calls from all other requests.

    `capture` and `ignore` are host globs of the operator and decide before anything else; a `capture` entry may name
    the provider: `llm.internal=vllm`.
    """

    def __init__(self, dialects: Iterable[Dialect], *, capture: Sequence[str] = (), ignore: Sequence[str] = ()) -> None:
        dialects = tuple(dialects)
        self._routes = [
            (re.compile(f"(?:{route.path})$"), route.method, route.operation, dialect)
            for dialect in dialects
            for route in dialect.routes
        ]
        self._capture = [_split(entry) for entry in capture]
        self._ignore = tuple(ignore)
        self._hosts = {**HOSTS, **{host: name for dialect in dialects for host, name in dialect.hosts.items()}}
        self._known: dict[tuple[str, str, int | None, str], Endpoint | None] = {}

    def match(self, method: str, host: str, port: int | None, path: str) -> Endpoint | None:
        """
        Tell what a request is; None when it is none of ours.
        """
        key = (method, host, port, path)
        try:
            return self._known[key]
        except KeyError:
            pass
        if len(self._known) >= _CACHE_SIZE:
            self._known.clear()
        endpoint = self._known[key] = self._find(method, host.lower(), port, path)
        return endpoint

    def _find(self, method: str, host: str, port: int | None, path: str) -> Endpoint | None:
        if any(fnmatchcase(host, glob) for glob in self._ignore):
            return None
        for pattern, verb, operation, dialect in self._routes:
            if verb == method and pattern.search(path):
                listed = self._listed(host, path)
                provider = listed or _by_port(host, port) or dialect.provider
                return Endpoint(provider, operation, dialect, listed=listed is not None)
        return None

    def _listed(self, host: str, path: str) -> str | None:
        """
        Give a listed host's provider: empty when the operator listed the host without one, None when nobody did.
        """
        captured = next((name for glob, name in self._capture if fnmatchcase(host, glob)), None)
        return captured or self._by_host(host, path) or captured

    def _by_host(self, host: str, path: str) -> str | None:
        name = self._hosts.get(host)
        if name is None:
            name = next((name for glob, name in self._hosts.items() if "*" in glob and fnmatchcase(host, glob)), None)
        if name is None:
            return None
        return next((other for (of, part), other in _PATHS.items() if of == name and part in path), name)


def _split(entry: str) -> tuple[str, str]:
    host, _, provider = entry.partition("=")
    return host.strip().lower(), provider.strip()


def _by_port(host: str, port: int | None) -> str | None:
    return PORTS.get(port) if port is not None and host in _LOCAL else None
