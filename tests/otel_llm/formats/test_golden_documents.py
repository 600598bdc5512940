"""Each format writes these documents; the amounts are worked out in conftest.py."""

import json
from pathlib import Path

import pytest

from otel_llm.formats import FORMATS

GOLDEN = Path(__file__).parent / "golden"
OURS = sorted(name for name in FORMATS if not name.startswith("otlp_"))
"""The others have OpenTelemetry's own encoder for a golden file, see test_otlp_formats.py."""

EVENTS = ("api_call", "streaming", "error", "rate_limit", "cache_hit", "conversation")


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("format_name", OURS)
def test_document_is_the_golden_one(format_name, name, events):
    """
    An event of every type is written field by field as its golden file says, in that order.
    """
    golden = json.loads((GOLDEN / f"{format_name}.{name}.json").read_text(encoding="utf-8"))
    written = json.loads(FORMATS[format_name].encode(events[name]))
    assert json.dumps(golden) == json.dumps(written)


def test_no_golden_file_is_left_over():
    """
    Every golden file belongs to a format and an event.
    """
    wanted = {f"{format_name}.{name}.json" for format_name in OURS for name in EVENTS}
    assert wanted == {path.name for path in GOLDEN.iterdir()}
