import base64
import json
import struct

import pytest
from otel_llm_instrumentation.dialects.openai_embeddings import OpenAIEmbeddings

from otel_llm.call import Parameters, Usage

EMBEDDINGS = OpenAIEmbeddings()


def answer(*vectors, **fields):
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "model": "e", "data": data, **fields}).encode()


def test_what_is_asked_for():
    """
    Dimensions and encoding are told, and Azure's deployment stands in for the model.
    """
    body = {"input": ["a", "b"], "dimensions": 256, "encoding_format": "base64"}
    asked = EMBEDDINGS.request(json.dumps(body).encode(), "/openai/deployments/small/embeddings")
    assert (asked.model, asked.parameters) == (
        "small",
        Parameters(embedding_dimensions=256, encoding_formats=("base64",)),
    )


def test_output_tokens_stay_absent():
    """
    Embeddings have input tokens only.
    """
    response = EMBEDDINGS.response(answer([0.1], usage={"prompt_tokens": 8, "total_tokens": 8}), content=False)
    assert (response.model, response.usage) == ("e", Usage(input_tokens=8))


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ([0.5, -0.25, 1e-7], 3),
        (base64.b64encode(struct.pack("<3f", 1, 2, 3)).decode(), 3),
        (base64.b64encode(struct.pack("<1536f", *range(1536))).decode(), 1536),
        ([], None),
        ([[0.1, 0.2], [0.3, 0.4]], None),
        (None, None),
    ],
)
def test_the_length_of_the_vectors(vector, expected):
    """
    Vectors of numbers and packed ones have a length; what is no vector has none.
    """
    assert EMBEDDINGS.response(answer(vector), content=False).embedding_dimensions == expected
