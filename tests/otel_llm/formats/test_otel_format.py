"""The format `otel`."""

import base64
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.formats.otel import encode, from_otel
from otel_llm.telemetry.event import Event, Resource, Scope

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalar = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
attributes = st.dictionaries(text, value, max_size=6)
moment = st.integers(0, 2**50).map(lambda us: us * 1000)

events = st.builds(
    Event,
    id=text,
    name=text,
    timestamp_ns=moment,
    observed_ns=moment,
    severity_number=st.integers(0, 24),
    severity_text=text,
    attributes=attributes,
    trace_id=st.just("") | st.integers(1, 2**128 - 1).map(lambda n: f"{n:032x}"),
    span_id=st.just("") | st.integers(1, 2**64 - 1).map(lambda n: f"{n:016x}"),
    trace_flags=st.integers(0, 255),
    body=value,
    resource=st.builds(Resource, attributes, text),
    scope=st.builds(Scope, text, text),
)


@given(events.filter(lambda event: b"Infinity" not in encode(event)))
def test_reading_gives_back_what_was_written(event):
    """
    `from_otel` undoes `encode`.
    """
    assert event == from_otel(encode(event))


@given(events)
def test_document_is_json_for_strict_readers(event):
    """
    No document holds a bare NaN or Infinity.
    """
    json.loads(encode(event), parse_constant=pytest.fail)


def test_times_have_six_digits_even_on_the_full_second(make_event):
    """
    Moments are RFC 3339 in UTC with exactly six digits; what is finer is cut, not rounded.
    """
    written = json.loads(
        encode(make_event(timestamp_ns=1_793_700_900_000_000_000, observed_ns=1_793_700_900_999_999_999))
    )
    assert (
        written["timestamp"],
        written["observed_timestamp"],
    ) == ("2026-11-03T10:15:00.000000Z", "2026-11-03T10:15:00.999999Z")


def test_numbers_that_json_lacks_are_words_at_any_depth(make_event):
    """
    NaN and the infinities are written as strings, inside lists and maps too, while null stays null.
    """
    values = {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": None, "e": (1.5, math.nan)}
    written = json.loads(encode(make_event(values, body={"x": math.nan}, resource=Resource({"r": math.inf}))))
    assert written["attributes"] == {"a": "NaN", "b": ["Infinity", {"c": "-Infinity"}], "d": None, "e": [1.5, "NaN"]}
    assert (written["body"]["x"], written["resource"]["attributes"]["r"]) == ("NaN", "Infinity")


def test_encoding_leaves_the_event_as_it_was(make_event):
    """
    Other sinks see the same event afterwards.
    """
    event = make_event({"a": math.inf})
    encode(event)
    assert math.inf == event.get("a")


def test_bytes_are_base64(make_event):
    """
    A bytes attribute is written in base64.
    """
    written = json.loads(encode(make_event({"blob": b"\x00\xffllm"})))
    assert base64.b64encode(b"\x00\xffllm").decode() == written["attributes"]["blob"]


def test_what_is_absent_is_left_out(make_event):
    """
    Without a span, body, resource and scope the document has no such keys.
    """
    written = json.loads(encode(make_event({"a": 1}, scope=Scope("", ""))))
    assert {
        "event_id",
        "timestamp",
        "observed_timestamp",
        "severity_number",
        "severity_text",
        "event_name",
        "attributes",
    } == set(written)


def test_an_unsampled_span_keeps_its_flags(make_event):
    """
    Trace flags of 0 are told wherever there is a trace.
    """
    assert json.loads(encode(make_event(trace_id="a" * 32, span_id="b" * 16)))["trace_flags"] == 0


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"event_id": 1}', b'{"event_id": "x", "timestamp": "noon"}'])
def test_something_else_is_refused(data):
    """
    What is no such document raises an error that names the fault.
    """
    with pytest.raises((msgspec.DecodeError, ValueError)):
        from_otel(data)
