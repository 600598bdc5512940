"""Formats: an event as bytes, in the shape a sink's reader expects."""

from otel_llm.formats.format import FORMATS, Format, find

__all__ = ["FORMATS", "Format", "find"]
