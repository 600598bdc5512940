import pytest

from otel_llm.capture.endpoint import Endpoints
from otel_llm.plugins import dialects

CHAT = "/v1/chat/completions"


@pytest.fixture(name="endpoints")
def _endpoints():
    return Endpoints(dialects())


def provider(endpoints, host, path=CHAT, port=443):
    endpoint = endpoints.match("POST", host, port, path)
    return endpoint and endpoint.provider


class TestProvider:
    @pytest.mark.parametrize(
        ("host", "path", "expected"),
        [
            ("api.openai.com", CHAT, "openai"),
            ("eu.api.openai.com", CHAT, "openai"),
            ("acme.openai.azure.com", "/openai/deployments/gpt4/chat/completions", "azure.ai.openai"),
            ("acme.services.ai.azure.com", "/models/chat/completions", "azure.ai.inference"),
            ("acme.services.ai.azure.com", "/openai/v1/responses", "azure.ai.openai"),
            ("openrouter.ai", "/api/v1/chat/completions", "openrouter"),
            ("api.groq.com", "/openai/v1/chat/completions", "groq"),
            ("api.deepseek.com", "/chat/completions", "deepseek"),
            ("api.x.ai", CHAT, "x_ai"),
            ("api.mistral.ai", CHAT, "mistral_ai"),
            ("api.together.xyz", CHAT, "together"),
            ("api.fireworks.ai", "/inference/v1/chat/completions", "fireworks"),
            ("api.perplexity.ai", "/chat/completions", "perplexity"),
            ("api.anthropic.com", "/v1/messages", "anthropic"),
            ("API.OpenAI.com", CHAT, "openai"),
        ],
    )
    def test_known_host(self, endpoints, host, path, expected):
        """
        A known host and path give the provider by its conventional name.
        """
        assert provider(endpoints, host, path) == expected

    def test_ollama_by_port(self, endpoints):
        """
        What answers on Ollama's own port of this machine is Ollama.
        """
        assert provider(endpoints, "localhost", port=11434) == "ollama"

    def test_unknown_host(self, endpoints):
        """
        A known path on a host nobody listed is for the request's body to confirm.
        """
        assert not endpoints.match("POST", "llm.internal", 8000, CHAT).listed

    def test_captured_host(self):
        """
        The operator lists a host and names its provider.
        """
        endpoint = Endpoints(dialects(), capture=["*.internal=vllm"]).match("POST", "llm.internal", 8000, CHAT)

        assert (endpoint.provider, endpoint.listed) == ("vllm", True)

    def test_ignored_host(self):
        """
        The operator's ignored hosts are none of ours, whatever else says so.
        """
        endpoints = Endpoints(dialects(), capture=["api.openai.com"], ignore=["*.openai.com"])

        assert endpoints.match("POST", "api.openai.com", 443, CHAT) is None


class TestOperation:
    @pytest.mark.parametrize(
        ("method", "path", "expected"),
        [
            ("POST", CHAT, "chat"),
            ("POST", "/v1/responses", "chat"),
            ("GET", "/v1/responses/resp_1", "fetch_response"),
            ("POST", "/v1/embeddings", "embeddings"),
            ("POST", "/v1/completions", "text_completion"),
            ("POST", "/v1/messages", "chat"),
        ],
    )
    def test_by_path(self, endpoints, method, path, expected):
        """
        Method and path give the operation.
        """
        assert endpoints.match(method, "api.openai.com", 443, path).operation == expected

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/models"),
            ("POST", "/v1/files"),
            ("GET", CHAT),
            ("POST", "/v1/responses/resp_1/cancel"),
            ("POST", "/v1/messages/count_tokens"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1/chat/completions/extra"),
        ],
    )
    def test_not_ours(self, endpoints, method, path):
        """
        Anything else is none of ours.
        """
        assert endpoints.match(method, "api.openai.com", 443, path) is None

    def test_many_paths(self, endpoints):
        """
        Ever new paths do not make the memory of answers grow without bound.
        """
        for number in range(20_000):
            endpoints.match("GET", "api.openai.com", 443, f"/v1/responses/{number}")

        assert len(endpoints._known) <= 4096
