import pytest

from otel_llm.telemetry.redaction import Redactor

MEGABYTE = 1_000_000
TAIL = "abcdefghijklmnopqrstuvwxyz0123456789"
CREDENTIALS = {
    "openai": "sk-proj-abc_DEF-123456789012",
    "anthropic": "sk-ant-api03-abcdefghijklmnop",
    "openrouter": "sk-or-v1-0123456789abcdef",
    "groq": f"gsk_{TAIL}",
    "x.ai": f"xai-{TAIL}",
    "perplexity": f"pplx-{TAIL}",
    "fireworks": f"fw_{TAIL}",
    "cerebras": f"csk-{TAIL}",
    "huggingface": f"hf_{TAIL}",
    "replicate": f"r8_{TAIL}",
    "nvidia": f"nvapi-{TAIL}",
    "google": f"AIza{TAIL}",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "aws session": "ASIAIOSFODNN7EXAMPLE",
    "github": f"ghp_{TAIL}",
    "github fine-grained": f"github_pat_{TAIL}",
    "slack": "xoxb-1234567890-abc",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
}
HARD = {
    "starts of tokens in one word": "eyJ" * (MEGABYTE // 3),
    "starts of tokens in many words": "eyJaaaaaaaa.eyJ-" * (MEGABYTE // 16),
    "escaped starts": "\\neyJaaaaaaaa" * (MEGABYTE // 13),
    "starts of keys": "-sk-" * (MEGABYTE // 4),
    "names without values": ("secret" + " " * 50) * (MEGABYTE // 56),
    "one name and spaces": "api_key" + " " * MEGABYTE,
    "bearers": "bearer " * (MEGABYTE // 7),
    "headers of private keys": "-----BEGIN PRIVATE KEY-----" * (MEGABYTE // 27),
    "an endless header": "-----BEGIN " + "A" * MEGABYTE,
}


@pytest.fixture
def redactor():
    return Redactor()


class TestText:
    @pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
    def test_credentials_are_known_by_their_shape(self, redactor, credential):
        """
        A credential is taken out wherever it begins, and what stands around it stays.
        """
        for before, after in (("", ""), ("key=", "&x=1"), ('{"k": "', '"}'), ("the key ", " is wrong"), ("\\n", "")):
            redacted = redactor.text(f"{before}{credential}{after}")
            assert redacted == f"{before}[REDACTED]{after}"

    @pytest.mark.parametrize(
        "text",
        [
            "Authorization: Bearer abcdef123456",
            "authorization=Basic-dXNlcjpwYXNz",
            'x-api-key: "0123456789abcdef"',
            '{"api_key": "0123456789abcdef"}',
            "password = correct-horse-battery",
            "client secret: 0123456789abcdef",
            "bearer 0123456789abcdef",
        ],
    )
    def test_credentials_are_known_by_their_name(self, redactor, text):
        """
        What is called a key, a password or a secret is one, whatever it looks like.
        """
        redacted = redactor.text(text)
        assert "[REDACTED]" in redacted
        assert not [word for word in ("abcdef", "horse", "dXNl") if word in redacted]

    @pytest.mark.parametrize(
        "text",
        [
            "Our risk-assessment-framework-for-all and the task-management-system-v2.",
            "What is an API key? The secret of good tea: time.",
            "The bearer of bad news slept.",
            "eyJ is how JSON begins in base64.",
            "",
        ],
    )
    def test_prose_stays(self, redactor, text):
        """
        Words that only look a little like credentials are left alone.
        """
        assert redactor.text(text) == text

    def test_operators_patterns_count_too(self):
        """
        An operator's own patterns are redacted besides ours.
        """
        assert Redactor([r"ACME-\d+"]).text(f"ACME-42 {CREDENTIALS['openai']}") == "[REDACTED] [REDACTED]"

    @pytest.mark.parametrize("text", HARD.values(), ids=HARD)
    def test_hard_texts_take_linear_time(self, redactor, text):
        """
        A megabyte made to be hard is read: in quadratic time this would take minutes.
        """
        assert redactor.text(text) == text or "[REDACTED]" in redactor.text(text)


class TestValue:
    def test_every_text_inside_is_redacted(self, redactor):
        """
        Texts are found however deep they stand; other values and the shape stay as they are.
        """
        key = CREDENTIALS["openai"]
        value = [{"role": "user", "parts": [{"content": f"use {key}", "n": 1, "x": None, "ok": True}]}, (key,)]
        assert redactor.value(value) == [
            {"role": "user", "parts": [{"content": "use [REDACTED]", "n": 1, "x": None, "ok": True}]},
            ["[REDACTED]"],
        ]

    @pytest.mark.parametrize("name", ["password", "api_key", "apiKey", "x-api-key", "Authorization", "client_secret"])
    def test_names_tell_credentials_in_structures(self, redactor, name):
        """
        The arguments of a tool may hold a password that looks like any word.
        """
        assert redactor.value({"arguments": {name: "swordfish"}}) == {"arguments": {name: "[REDACTED]"}}

    def test_other_names_do_not(self, redactor):
        """
        A secretary is no secret, and a number is no password.
        """
        value = {"secretary": "Ann", "password": 3, "passwords": ["a"], "max_tokens": 5}
        assert redactor.value(value) == value
