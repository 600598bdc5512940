import io
import json
import sys

import pytest
from otel_llm_exporters.stdout import StdoutOptions, StdoutSink


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(batch_of, monkeypatch):
    """
    Give a function that sends events and gives what was written.
    """
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def send(*events, to=io.StringIO, **options) -> str:
        stream = to()
        monkeypatch.setattr(sys, options.get("output", "stdout"), stream)
        sink = StdoutSink(StdoutOptions(**options))
        sink.open()
        sink.send(batch_of(*events))
        sink.close()
        return stream.getvalue()

    return send


def test_json_lines(written, call):
    """A program that reads gets one JSON document a line, without a prefix."""
    events = [call(), call()]
    assert [json.loads(line)["event_id"] for line in written(*events).splitlines()] == [each.id for each in events]


def test_pretty(written, call):
    """`pretty` indents."""
    event = call()
    text = written(event, pretty=True)
    assert json.loads(text)["event_id"] == event.id
    assert text.startswith("{\n  ")
    assert text == written(event, style="pretty")


def test_prefix(written, call):
    """`analytics-prefix` marks each line."""
    text = written(call(), style="analytics-prefix")
    assert text.startswith("[analytics] {")


def test_stderr(written, call):
    """`output: stderr` writes there."""
    assert json.loads(written(call(), output="stderr"))


def test_terminal(written, call):
    """A person at a terminal gets one coloured line per call."""
    text = written(call(), to=Terminal)
    assert "\x1b[32msuccess\x1b[0m" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour(written, call, monkeypatch, variable, value):
    """Nobody gets colours who does not want them."""
    monkeypatch.setenv(variable, value)
    assert "\x1b" not in written(call(), to=Terminal)


def test_no_colour_in_a_pipe(written, call):
    """Without a terminal there are no colours."""
    assert "\x1b" not in written(call(), style="line")


@pytest.mark.parametrize("style", ["json", "pretty", "line", "analytics-prefix"])
def test_escape_sequences(written, call, style):
    """What a model or a user wrote cannot command the terminal."""
    event = call(gen_ai__response__model="\x1b]0;title\x07gpt\x9b31m\x1b[2J", otel_llm__error__message="\x1b[2J")
    text = written(event, to=Terminal, style=style)
    assert [part for part in ("\x1b]", "\x1b[2J", "\x9b", "\x07") if part in text] == []
