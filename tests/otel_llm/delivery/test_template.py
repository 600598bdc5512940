import pytest

from otel_llm.delivery import template
from otel_llm.settings.conversion import Unfit
from otel_llm.telemetry.event import Event, Resource


@pytest.fixture
def event():
    attributes = {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.stream": True,
        "otel_llm.event.type": "error",
        "otel_llm.label.tenant_id": "t1",
        "otel_llm.request.id": "r1",
        "acme.shop": {"region.name": "eu", "deep": {"er": 7}},
    }
    resource = Resource({"service.name": "shop"})
    return Event("e1", "call", 1, 2, 9, "INFO", attributes, "a" * 32, "b" * 16, resource=resource)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("event_id", "e1"),
        ("event_type", "error"),
        ("trace_id", "a" * 32),
        ("span_id", "b" * 16),
        ("request_id", "r1"),
        ("provider", "openai"),
        ("streaming", "true"),
        ("label.tenant_id", "t1"),
        ("label.other", ""),
        ("resource.service.name", "shop"),
        ("gen_ai.provider.name", "openai"),
        ("acme.shop.region.name", "eu"),
        ("acme.shop.deep.er", "7"),
        ("acme.shop.deep", ""),
        ("acme.shop.region.name.more", ""),
        ("gen_ai.nothing", ""),
        ("model", ""),
    ],
)
def test_field(event, name, found):
    """A field is found by its short name, by an attribute's full name, and inside a mapping; else it is empty."""
    assert template.field(event, template.read_field(name)) == found


def test_fill(event):
    """Fields in braces are filled in, and what the event does not say is replaced as asked."""
    wanted = template.read_template("llm-{event_type}-{ label.tenant_id }-{model}")
    assert template.fill(event, wanted, missing="none") == "llm-error-t1-none"


def test_plain_text(event):
    """Text without braces is no template and stays as it is."""
    assert (template.is_template("llm"), template.fill(event, "llm")) == (False, "llm")


@pytest.mark.parametrize(
    ("text", "suggestion"), [("llm-{event_typ}", "event_type"), ("{}", None), ("a{provider", None), ("}{", None)]
)
def test_misuse(text, suggestion):
    """An unknown field, or a brace by itself, is an error with the nearest name."""
    with pytest.raises(Unfit) as caught:
        template.read_template(text)
    assert caught.value.nearest == suggestion
