"""
What every dialect promises, whatever bytes come.
"""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from otel_llm_instrumentation.dialects.anthropic import AnthropicMessages
from otel_llm_instrumentation.dialects.openai_chat import OpenAIChat
from otel_llm_instrumentation.dialects.openai_completions import OpenAICompletions
from otel_llm_instrumentation.dialects.openai_embeddings import OpenAIEmbeddings
from otel_llm_instrumentation.dialects.openai_responses import OpenAIResponses

from otel_llm.capture.dialect import NOTHING, Response

DIALECTS = (OpenAIChat(), OpenAIResponses(), OpenAIEmbeddings(), OpenAICompletions(), AnthropicMessages())
PATH = "/v1/somewhere"

FIELDS = """
model messages input prompt stream background seed n stop temperature top_p top_k max_tokens tools type name id usage
choices index delta finish_reason content text refusal reasoning tool_calls function arguments error message code detail
data prompt_tokens completion_tokens prompt_tokens_details cached_tokens cost x_groq response output status item
output_index conversation instructions metadata role stop_reason content_block partial_json input_tokens cache_creation
output_tokens total_tokens image_url source audio system output_config format effort incomplete_details action embedding
"""
WORDS = """
text message message_start message_delta message_stop content_block_start content_block_delta tool_use error ping image
response.created response.completed response.output_text.delta response.output_item.added function_call reasoning queued
"""
names = st.sampled_from(FIELDS.split())
words = st.sampled_from(WORDS.split())

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words | st.text()
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6))
objects = st.dictionaries(names, values, max_size=8)
frames = objects.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40) | st.just(b"[DONE]")


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
class TestAnyBytes:
    @given(asked=objects)
    def test_requests_with_odd_values_are_read(self, dialect, asked):
        """
        No value of the wrong type keeps the model from being read, nor the prompt from being told.
        """
        body = json.dumps({**asked, "model": "m"}).encode()
        dialect.prompt(body)
        assert dialect.request(body, PATH).model == "m"

    @given(answer=objects)
    def test_answers_with_odd_values_are_read(self, dialect, answer):
        """
        No value of the wrong type keeps the answer's model from being read.
        """
        body = json.dumps({**answer, "model": "m"}).encode()
        assert dialect.response(body, content=True).model == "m"

    @given(body=st.binary(max_size=60))
    def test_answers_that_are_no_json_tell_nothing(self, dialect, body):
        """
        An HTML error page, or any bytes at all, are an empty answer.
        """
        assert dialect.response(b"<" + body, content=True) == Response()

    @given(sent=st.lists(frames, max_size=8), content=st.booleans())
    def test_frames_in_any_order_are_survived(self, dialect, sent, content):
        """
        Known events in any order, with any values and with garbage between, never raise.
        """
        reader = dialect.stream(content=content)
        for data in sent:
            reader.feed(data, b"")
        assert reader.finish() is reader.response

    @pytest.mark.parametrize("data", [b"", b"[1]", b'"text"', b"1", b"null", b'{"choices":', b": ping", b"\xff\xfe"])
    def test_frames_that_are_no_object_tell_nothing(self, dialect, data):
        """
        One odd frame in the middle of a stream is passed over.
        """
        assert dialect.stream(content=True).feed(data, b"") == NOTHING

    @pytest.mark.parametrize("body", [b"<html>", b"[1]", b'"text"', b'{"model":'])
    def test_requests_that_are_no_object_are_refused(self, dialect, body):
        """
        A body in another format is for the caller to know.
        """
        with pytest.raises(msgspec.DecodeError):
            dialect.request(body, PATH)

    @pytest.mark.parametrize("body", [{}, {"model": 7, "messages": []}, {"model": "m"}, {"messages": [], "input": "x"}])
    def test_bodies_of_somebody_else_are_not_recognised(self, dialect, body):
        """
        Without a model by name and something to answer, it is another API under the same path.
        """
        assert dialect.request(json.dumps(body).encode(), PATH).recognised is False


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            {"error": {"message": "no", "type": "invalid_request_error", "code": "model_not_found"}},
            "model_not_found",
            "no",
        ),
        ({"error": {"message": "no", "type": "NotFoundError", "code": 404}}, "NotFoundError", "no"),
        ({"error": {"message": "no", "type": None, "code": "429"}}, "429", "no"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, "overloaded_error", "no"),
        ({"error": "no"}, None, "no"),
        ({"code": "invalid-argument", "error": "no"}, "invalid-argument", "no"),
        ({"detail": "no"}, None, "no"),
        ({"detail": [{"loc": ["body"], "msg": "missing", "input": "secret"}]}, None, "missing"),
        ({"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, "BadRequestError", "no"),
    ],
)
def test_errors_are_read_however_they_are_spelt(dialect, body, kind, message):
    """
    The provider's code and words are found in every shape in use; what the user sent is not repeated.
    """
    response = dialect.response(json.dumps(body).encode(), content=False)
    assert (response.error_type, response.error_message) == (kind, message)
