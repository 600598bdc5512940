import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.call import Content
from otel_llm.capture.quotation import MASK, SHORTEST, unquoted
from otel_llm.testing import Reply

PROMPT = "My medical record says that I am allergic to penicillin since 1987."
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


def content(*parts):
    return Content(input_messages=[{"role": "user", "parts": [{"type": "text", "content": part} for part in parts]}])


class TestUnquoted:
    def test_quotation(self):
        """
        What the message quotes of the prompt is replaced, the provider's own words stay.
        """
        message = f"Invalid value: '{PROMPT[3:40]}…'. Supported values are: 'text'."

        assert unquoted(message, content(PROMPT)) == f"Invalid value: '{MASK}…'. Supported values are: 'text'."

    def test_short_words(self):
        """
        A word or two in common is no quotation.
        """
        assert unquoted("the medical record", content("medical records")) == "the medical record"

    def test_large_parts(self):
        """
        Images are no text that anybody would quote.
        """
        image = Content(input_messages=[{"role": "user", "parts": [{"type": "blob", "content": "A" * 100}]}])

        assert unquoted("A" * 100, image) == "A" * 100

    def test_endless_comparison(self):
        """
        Texts that would take too long to compare leave nothing of the message.
        """
        assert unquoted("a" * 2_000, content("a" * 100_000)) == MASK

    @given(before=texts, quoted=st.text("abcdefghij ", min_size=SHORTEST, max_size=80), after=texts, around=texts)
    def test_no_quotation_is_left(self, before, quoted, after, around):
        """
        No run of the prompt that is long enough to count stands in the result.
        """
        result = unquoted(before + quoted + after, content(around + quoted + around))

        assert quoted not in result


class TestProviderError:
    @pytest.mark.parametrize("status", [400, 429, 500])
    def test_echo(self, server, telemetry, status):
        """
        A provider that repeats the prompt in its error message does not bring it into record, span or metric.
        """
        body = f'{{"error": {{"message": "cannot read: {PROMPT}", "type": "invalid_request_error", "code": "odd"}}}}'
        server.default = Reply(status=status, body=body.encode())
        question = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
        httpx2.post(f"{server.openai_url}/chat/completions", json=question)
        record, (span,) = telemetry.record(), telemetry.spans("otel_llm")

        assert record["otel_llm.error.message"] == f"cannot read: {MASK}"
        assert PROMPT not in repr((record, span.status.description, span.attributes))
