"""Raw values turned into what an annotation asks for."""

import contextlib
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.settings import Count, Duration, Secret, Share, Size, Unfit, convert

HINTS: list[Any] = [
    str,
    int,
    float,
    bool,
    Path,
    Secret,
    tuple[str, ...],
    list[int],
    dict[str, str],
    Mapping[str, object],
    dict[str, Secret],
    Literal["none", "all", -1],
    int | None,
    Literal["auto"] | int | None,
    Count,
    Size,
    Duration,
    Share,
]
RAW = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


class Colour(Enum):
    RED = 1


@given(RAW, st.sampled_from(HINTS))
def test_anything_is_converted_or_unfit(raw, hint):
    """No raw value whatever raises anything but Unfit."""
    with contextlib.suppress(Unfit):
        convert(raw, hint)


@given(st.integers(min_value=-(10**30), max_value=10**30))
def test_integers_survive_text(number):
    """A whole number is read back from its text, to the unit."""
    assert convert(str(number), int) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_text(number):
    """A number is read back from its text."""
    assert convert(repr(number), float) == number


@given(st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=1)))
def test_lists_by_comma_or_json(items):
    """A list is read from commas, where they separate clean words, and always from JSON."""
    words = [item.strip() for item in items if item.strip() and not item.lstrip().startswith("[")]
    assert convert(",".join(words), tuple[str, ...]) == tuple(words)
    assert convert(json.dumps(items), list[str]) == items


@given(st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1), st.text(st.characters(categories=["L"]))))
def test_mappings_by_pairs_or_json(mapping):
    """A mapping is read from `k=v` pairs or from JSON."""
    pairs = ",".join(f"{key}={value}" for key, value in mapping.items())
    assert convert(pairs, dict[str, str]) == convert(json.dumps(mapping), dict[str, str]) == mapping


@pytest.mark.parametrize(
    ("raw", "hint", "value"),
    [
        ("yes", bool, True),
        ("OFF", bool, False),
        (1, bool, True),
        ("1_000", int, 1000),
        (2.0, int, 2),
        (9092, str, "9092"),
        ("~/x", Path, Path.home() / "x"),
        ("a, b,,c", tuple[str, ...], ("a", "b", "c")),
        ("", tuple[str, ...], ()),
        ("[]", tuple[str, ...], ()),
        (["a"], tuple[str, ...], ("a",)),
        (5, tuple[int, ...], (5,)),
        ("{}", dict[str, str], {}),
        ("Authorization=Bearer a=b", dict[str, str], {"Authorization": "Bearer a=b"}),
        ("ALL", Literal["none", "all"], "all"),
        ("-1", Literal["all", -1], -1),
        ("7", int | None, 7),
        (None, int | None, None),
        ("auto", int | Literal["auto"], "auto"),
        ("8", int | Literal["auto"], 8),
        ("red", Colour, Colour.RED),
        ("512 MiB", Size, 512 * 1024**2),
        ("1.5GB", Size, 1_500_000_000),
        (1024, Size, 1024),
        ("7d", Duration, 604_800.0),
        ("1h30m", Duration, 5400.0),
        ("500ms", Duration, 0.5),
        (90, Duration, 90.0),
        ("0.25", Share, 0.25),
        ("x", Annotated[str, "a note"], "x"),
        ("s", Secret, Secret("s")),
    ],
)
def test_readings(raw, hint, value):
    """Each type has the spellings that people use for it."""
    converted = convert(raw, hint)
    assert (converted, type(converted)) == (value, type(value))


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        (True, int),
        ("1.5", int),
        ("nan", float),
        ("inf", Duration),
        (True, str),
        ("maybe", bool),
        ("a", dict[str, str]),
        ("{", dict[str, str]),
        ("[1", list[str]),
        ("0", Count),
        ("5 parsecs", Duration),
        ("5 MiBs", Size),
        ("-5 MiB", Size),
        ("x7d", Duration),
        ("1.1", Share),
        ("", Path),
        ("no", Literal["none", "all"]),
    ],
)
def test_misfits(raw, hint):
    """What does not fit raises."""
    with pytest.raises(Unfit):
        convert(raw, hint)


def test_nearest_choice():
    """A misspelt choice comes with the nearest one."""
    with pytest.raises(Unfit) as caught:
        convert("procces", Literal["memory", "process"])
    assert (caught.value.expected, caught.value.nearest) == ("memory or process", "process")
