"""
What is replaced before anything is emitted, and what is not.
"""

import json
import math
from collections import OrderedDict, UserDict, deque
from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.common._internal import _encode_value
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_llm.call import Content, Failure, Parameters, Usage
from otel_llm.telemetry import safe_values
from otel_llm.telemetry.event import Event
from otel_llm.telemetry.redaction import Redactor
from otel_llm.telemetry.safe_values import DEEPEST, MOST_CHARACTERS, safe, safe_call, safe_content, safe_name, safe_text


class Rude:
    """
    Nobody can print it.
    """

    def __str__(self):
        raise RuntimeError("no")


class RudeText(str):
    __slots__ = ()
    __str__ = Rude.__str__


class RudeMap(UserDict):
    def items(self):
        raise RuntimeError("no")


class Size(Enum):
    LARGE = "large"


def nested(depth, wrap=lambda inner: [inner], value=1):
    for _ in range(depth):
        value = wrap(value)
    return value


CIRCLE = {"name": "circle"}
CIRCLE["self"] = CIRCLE

REPLACED = {
    "lone-surrogate": ("a\ud800", "a\ufffd"),
    "two-halves": ("\ud83d\ude00", "\U0001f600"),
    "surrogate-in-a-name": ({"\udc00": 1}, {"\ufffd": 1}),
    "2**63": (2**63, "9223372036854775808"),
    "-2**63-1": (-(2**63) - 1, "-9223372036854775809"),
    "2**70": (2**70, "1180591620717411303424"),
    "too-long-for-python": (1 << 16_609, "[an integer of 16610 bits]"),
    "circle": (CIRCLE, {"name": "circle", "self": "[circular]"}),
    "rude": (Rude(), "[unreadable Rude]"),
    "rude-text": ([RudeText("said")], ["said"]),
    "rude-map": (RudeMap(a=1), "[unreadable RudeMap]"),
    "names-of-any-type": ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
    "sets": ({"tags": {1}}, {"tags": [1]}),
    "other-containers": ([deque([1]), MappingProxyType({"a": OrderedDict(b=2)})], [[1], {"a": {"b": 2}}]),
    "buffers": ([bytearray(b"a"), memoryview(b"b")], [b"a", b"b"]),
    "enumerations": ([Size.LARGE, StrEnum("Kind", ["CHAT"]).CHAT], ["large", "chat"]),
    "decimal": ([Decimal("0.5")], [0.5]),
}

KEPT = {
    "text": "naïve \U0001f600",
    "nul": "a\0b",
    "the-widest-integers": [2**63 - 1, -(2**63)],
    "infinities": [math.inf, -math.inf],
    "bytes": b"\xcf\xff\x00",
    "what-looks-like-a-wide-integer": "\u03c0" * 3 + "\u03ff",
    "list-and-map": [{"a": [None, True, 1.5]}],
    "tuple": ("stop", "length"),
    "as-deep-as-may-be": nested(DEEPEST),
}


class TestSafe:
    @pytest.mark.parametrize(("value", "replaced"), REPLACED.values(), ids=REPLACED)
    def test_what_nobody_could_take_is_replaced(self, value, replaced):
        """
        An odd value has another in its place, and what stands around it stays.
        """
        assert safe({"before": 1, "odd": value, "after": "x"}) == {"before": 1, "odd": replaced, "after": "x"}

    @pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
    def test_all_else_is_the_same_object(self, value):
        """
        A value that everybody can take is not even copied; where something beside it is replaced, it still is equal.
        """
        assert safe(value) is value
        beside = safe({"kept": value, "odd": "\ud800"})["kept"]
        assert beside == (list(value) if isinstance(value, tuple) else value) or isinstance(beside, list)

    @pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "maps"])
    @pytest.mark.parametrize("depth", [DEEPEST + 1, 300, 10_000])
    def test_the_depths_become_one_text(self, depth, wrap):
        """
        What is nested too deeply is told as JSON, and where even that cannot be, left out.
        """
        value = safe(nested(depth, wrap))
        for _ in range(DEEPEST):
            (value,) = value if isinstance(value, list) else value.values()
        assert value == (
            safe_values.TOO_DEEP if depth == 10_000 else json.dumps(nested(depth - DEEPEST, wrap)).replace(" ", "")
        )

    def test_the_longest_texts_are_cut(self):
        """
        Fifty megabytes are cut to what fits, whatever they are; short texts stay whole.
        """
        value = safe({"long": "x" * 50_000_000, "bytes": b"y" * 50_000_000, "short": "s" * 1000, "list": ["z" * 2000]})
        assert (value["short"], value["list"]) == ("s" * 1000, ["z" * 2000])
        assert len(value["long"]) == len(value["bytes"])
        assert MOST_CHARACTERS - 100 < 2 * len(value["long"]) + 3000 <= MOST_CHARACTERS

    def test_what_multiplies_is_cut_short(self):
        """
        Containers that hold each other a million times over do not fill the memory.
        """
        value = "x"
        for _ in range(60):
            value = [value] * 2
        assert len(str(safe({"many": value, "odd": "\ud800"}))) < 3_000_000


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**66)
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=8)
    | st.binary(max_size=8)
    | st.just(Rude()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=[]), max_size=4) | st.integers(), inner, max_size=4)
        | st.tuples(inner, st.integers(0, 60)).map(lambda pair: nested(pair[1], lambda value: [value], pair[0]))
    ),
    max_leaves=12,
)


@given(anything)
def test_every_writer_takes_what_is_safe(value):
    """
    Whatever came in, OpenTelemetry's encoder and the journal's write it, and their readers read it.
    """
    value = safe(value)
    encoded = _encode_value(value).SerializeToString()
    assert AnyValue.FromString(encoded).SerializeToString() == encoded
    event = Event("e", "n", 1, 1, 9, "INFO", {"value": value})
    assert Event.decode(event.encode()).id == "e"


@given(anything)
def test_safe_is_safe(value):
    """
    Making safe what has been made safe changes nothing.
    """
    once = safe(value)
    assert repr(once) == repr(safe(once))


class TestCalls:
    def test_a_usual_call_is_the_same(self, full_call):
        """
        Nothing is copied where there is nothing to replace.
        """
        assert safe_call(full_call) is full_call

    def test_facts(self, full_call):
        """
        Texts are mended wherever they stand in a call; all else of it stays as it is.
        """
        odd = replace(
            full_call, labels={"team\udc00": "s\ud800"}, response_id="\ud800", finish_reasons=("stop", "\ud800")
        )
        assert safe_call(odd) == replace(
            full_call, labels={"team\ufffd": "s\ufffd"}, response_id="\ufffd", finish_reasons=("stop", "\ufffd")
        )

    def test_counts(self, make_call):
        """
        A count or parameter beyond all measure is unknown.
        """
        call = make_call(usage=Usage(10**400, 7, 2**63), parameters=Parameters(seed=2**64, top_k=3))
        assert safe_call(call) == make_call(usage=Usage(None, 7, None), parameters=Parameters(seed=None, top_k=3))

    def test_long_texts(self, make_call):
        """
        Names and messages of a call that is too long keep their beginning.
        """
        call = safe_call(make_call(request_model="m" * 50_000_000, failure=Failure("e", "x" * 50_000_000)))
        assert len(call.request_model) == len(call.failure.message) == 10_000

    def test_content(self):
        """
        Content is made safe within, and by the redactor as shallow as OpenTelemetry needs it.
        """
        content = safe_content(Content(input_messages=[{"role": "user", "n": 2**70, "s": "\ud800"}]))
        assert content.input_messages == [{"role": "user", "n": str(2**70), "s": "\ufffd"}]
        deep = Redactor().value(nested(400, lambda inner: {"key": "sk-abcdefghijklmnopqrstuvwx", "a": inner}))
        encoded = _encode_value(deep).SerializeToString()
        assert AnyValue.FromString(encoded)
        assert "sk-abc" not in str(deep)


def test_names():
    """
    Names are whole characters, and not longer than a name could be.
    """
    assert (safe_name(None), safe_name("gpt-4o"), safe_text("é\ud800")) == (None, "gpt-4o", "é\ufffd")
    assert len(safe_name("m" * 50_000)) == 10_000
