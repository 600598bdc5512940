"""Embeddings of given size and format."""

from openai import OpenAI

OpenAI().embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=4, encoding_format="float")
