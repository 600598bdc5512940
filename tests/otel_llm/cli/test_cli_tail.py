"""`otel-llm tail`."""

import json

from otel_llm.cli.main import main


def test_the_last_calls_come_oldest_first(capsys, record, event, tmp_path):
    """
    `-n` says how many; each is one whole record.
    """
    path = record(tmp_path / "calls.db", *map(event, range(5)))
    assert main(["tail", "--json", "-n", "2", "--db", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == ["event-3", "event-4"]


def test_follow_shows_what_comes(otel_llm, record, event, tmp_path):
    """
    `-f` waits until a sink has set the database up, then shows each call once as it is recorded.
    """
    (tmp_path / "calls.db").touch()
    process = otel_llm("tail", "-f", "--json", "--db", "calls.db")
    assert process.stderr.readline() == "waiting for calls.db\n"
    record(tmp_path / "calls.db")
    seen = []
    for number in range(3):
        record(tmp_path / "calls.db", event(number))
        seen.append(json.loads(process.stdout.readline())["event_id"])
    assert seen == ["event-0", "event-1", "event-2"]


def test_a_record_that_cannot_be_read_does_not_hide_the_rest(capsys, record, event, tmp_path):
    """
    A garbled row is named on stderr, the others are shown.
    """
    path = record(tmp_path / "calls.db", event(0), event(1))
    garble(path)
    assert main(["tail", "--db", str(path)]) == 0
    told = capsys.readouterr()
    assert (len(told.out.splitlines()), "record 1 cannot be read" in told.err) == (1, True)


def test_a_line_cannot_command_the_terminal(capsys, record, event, tmp_path):
    """
    Escape sequences in a record are not shown; a call stays one line.
    """
    path = record(tmp_path / "calls.db", event(0, **{"gen_ai.request.model": "a\x1b[2Jb\nc"}))
    assert main(["tail", "--db", str(path)]) == 0
    shown = capsys.readouterr().out
    assert ("\x1b" in shown, shown.count("\n"), "openai/ab" in shown) == (False, 1, True)


def test_a_missing_database_is_told(capsys, tmp_path):
    """
    Without `-f` there is nothing to wait for.
    """
    assert main(["tail", "--db", str(tmp_path / "none.db")]) == 2
    assert "otel-llm run -- python app.py" in capsys.readouterr().err


def garble(path):
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE llm_calls SET event = '{' WHERE id = 1")
        connection.commit()
