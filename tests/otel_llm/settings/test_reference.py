"""The written reference of settings."""

from pathlib import Path

from otel_llm.settings import Settings, SinkCommon
from otel_llm.settings.reference import field_docs, markdown

DOCS = Path(__file__).parents[3] / "docs"


def test_docs_are_current():
    """`docs/settings.md` is what the dataclasses say."""
    assert (DOCS / "settings.md").read_text("utf-8") == markdown()


def test_every_field_is_explained():
    """Each setting and each option of all sinks has its sentence."""
    for options_class in (Settings, SinkCommon):
        assert field_docs(options_class).keys() == options_class.__dataclass_fields__.keys()
