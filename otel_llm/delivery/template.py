"""
What of an event says where it belongs at its destination: a topic, a partition, an ordering key.

A field is one of `FIELDS` (also the names that `where` knows), `label.<key>`, `resource.<attribute>`, or an attribute
by its full name, from where further dots lead into a mapping. A template is text with such fields in braces.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from otel_llm.delivery import route
from otel_llm.settings.conversion import Unfit, nearest, read_text
from otel_llm.telemetry.event import Event

FIELDS: Final = {
    **route.FIELDS,
    "conversation_id": "gen_ai.conversation.id",
    "request_id": "otel_llm.request.id",
    "response_id": "gen_ai.response.id",
}
"""Short names of attributes; `event_id`, `event_type`, `trace_id` and `span_id` are the event's own."""

_OWN: Final = {
    "event_id": lambda event: event.id,
    "event_type": lambda event: event.type,
    "trace_id": lambda event: event.trace_id,
    "span_id": lambda event: event.span_id,
}
_PLACE: Final = re.compile(r"\{([^{}]*)\}")


def field(event: Event, name: str) -> str:
    """
    Give what an event says in a field, as text; empty where it says nothing.
    """
    own = _OWN.get(name)
    return own(event) if own else _text(_value(event, name))


def fill(event: Event, template: str, *, missing: str = "") -> str:
    """
    Put an event's fields into a template; `missing` stands where it has none.
    """
    return _PLACE.sub(lambda place: field(event, place[1].strip()) or missing, template)


def is_template(text: str) -> bool:
    """
    Whether a text has fields in it.
    """
    return _PLACE.search(text) is not None


def read_field(raw: object) -> str:
    """
    Read a field's name.
    """
    name = read_text(raw).strip()
    if name in _OWN or name in FIELDS or "." in name.strip("."):
        return name
    expected = "a known field, label.<key>, resource.<attribute> or an attribute's full name"
    raise Unfit(expected, nearest(name, [*_OWN, *FIELDS]))


def read_template(raw: object) -> str:
    """
    Read text that may have fields in braces.
    """
    template = read_text(raw)
    for name in _PLACE.findall(template):
        read_field(name)
    if set(_PLACE.sub("", template)) & {"{", "}"}:
        raise Unfit("text with fields in braces, such as {event_type}")
    return template


FieldName = Annotated[str, read_field]
"""A field of an event, such as `trace_id` or `label.tenant_id`."""
Template = Annotated[str, read_template]
"""Text with fields in braces, such as `llm-{event_type}`."""


def _value(event: Event, name: str) -> object:
    if name.startswith("resource."):
        return _descend(event.resource.attributes, name.removeprefix("resource."))
    if name.startswith("label."):
        return event.attributes.get(f"otel_llm.{name}")
    return _descend(event.attributes, FIELDS.get(name, name))


def _descend(values: Mapping[str, Any], path: str) -> object:
    """
    Follow a path whose keys may hold dots themselves: the longest key that is there wins.
    """
    key, rest = path, ""
    while key:
        if key in values:
            found = values[key]
            return found if not rest else _descend(found, rest) if isinstance(found, Mapping) else None
        key, _, last = key.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
    return None


def _text(value: object) -> str:
    if value is None or isinstance(value, Mapping | list | tuple):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
