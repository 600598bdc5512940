"""Dead letters read like a journal, and taken out of their file when they are settled."""

import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery.dead_letters import DeadLetters
from otel_llm.delivery.letters import Letters, event_of, letters, read
from otel_llm.errors import JournalError
from otel_llm.telemetry.event import Event, Resource, Scope, new_event_id


def bury(dead, *numbers):
    dead.keep([dead.letter(made(number), f"no {number}", 1) for number in numbers])


def made(number):
    attributes = {"number": number, "text": "x" * (number % 7 * 50), "flag": True, "share": 0.5, "none": None}
    resource = Resource({"service.name": "shop"}, "https://example.com/schema")
    return Event(
        new_event_id(),
        "test",
        number,
        number + 1,
        9,
        "INFO",
        attributes,
        "a" * 32,
        "b" * 16,
        1,
        {"a": [1]},
        resource,
        Scope("s", "1"),
    )


def numbers(path):
    return [event_of(letter).get("number") for letter in letters(path)]


@pytest.fixture
def dead(tmp_path):
    """
    Give the dead letters of one sink.
    """
    return DeadLetters(tmp_path / "group", "acme-1")


def test_round_trip(dead):
    """The record that a letter gives is the one that died, to the last field."""
    event = made(3)
    dead.keep([dead.letter(event, "too old", 2)])
    (letter,) = letters(dead.path)
    assert (event_of(letter), letter.reason, letter.attempts) == (event, "too old", 2)
    assert read(dead.path.read_bytes()) == letter


def test_frames(dead):
    """Letters come in the order of the file, under numbers without a gap."""
    bury(dead, *range(250))
    source = Letters(dead.path)
    first = source.beyond(0)
    then = source.beyond(first[-1].sequence + 1)
    assert [frame.event.get("number") for frame in [*first, *then]] == list(range(200))
    assert source.next == 250
    source.close()


def test_nothing_leaves_before_it_is_settled(dead):
    """Reading alone takes nothing out of the file."""
    bury(dead, *range(5))
    source = Letters(dead.path)
    source.beyond(0)
    source.close()
    assert numbers(dead.path) == list(range(5))


def test_the_file_stays_private(dead):
    """The file that is written anew is as private as the old one."""
    bury(dead, 1, 2)
    source = Letters(dead.path)
    source.commit("acme", 1)
    source.close()
    assert stat.S_IMODE(dead.path.stat().st_mode) == 0o600
    assert numbers(dead.path) == [2]


def test_one_at_a_time(dead, monkeypatch):
    """Who does not get the lock is told so."""
    bury(dead, 1)
    monkeypatch.setattr("otel_llm.delivery.files.try_lock", lambda _: False)
    with pytest.raises(JournalError, match="another process replays"):
        Letters(dead.path)


@given(
    st.lists(st.sampled_from(["letter", "rubbish", "blank"]), max_size=12),
    st.lists(st.one_of(st.integers(0, 12), st.just("bury")), max_size=12),
)
def test_as_the_model_says(lines, steps):
    """Whatever is settled and buried meanwhile, the file holds all else, in order, and nothing twice."""
    with tempfile.TemporaryDirectory() as folder:
        dead = DeadLetters(Path(folder) / "group", "acme-1")
        dead.keep([])
        for number, line in enumerate(lines):
            if line == "letter":
                bury(dead, number)
            else:
                with dead.path.open("a") as file:
                    file.write("{rubbish\n" if line == "rubbish" else "\n")
        model = [number for number, line in enumerate(lines) if line == "letter"]
        source, settled, late = Letters(dead.path), 0, []
        assert source.next == len(model)
        for step in steps:
            if step == "bury":
                late.append(100 + len(late))
                bury(dead, late[-1])
            elif settled <= step <= len(model):
                settled = step
                source.commit("acme", settled)
            assert [frame.event.get("number") for frame in source.beyond(settled)] == model[settled:]
        source.close()
        assert numbers(dead.path) == model[settled:] + late
        assert dead.path.read_text().count("{rubbish") == lines.count("rubbish")
