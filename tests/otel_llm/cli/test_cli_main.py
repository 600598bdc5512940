"""The command itself."""

import signal
from importlib.metadata import version

import pytest

from otel_llm.cli.main import main


def test_version(capsys):
    """
    `--version` prints the name and the installed version.
    """
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"otel-llm {version('otel-llm')}\n"


@pytest.mark.parametrize("arguments", [[], ["reprot"], ["report", "--limit", "many"]])
def test_wrong_usage_exits_2(arguments):
    """
    A missing or wrong word is a usage error.
    """
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_our_errors_are_one_line_without_a_traceback(capsys, tmp_path):
    """
    What cannot be done is said in one line on stderr, with exit code 2.
    """
    assert main(["report", "--db", str(tmp_path / "none.db")]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("otel-llm report: no records yet: ")


def test_a_reader_that_goes_away_is_no_error(otel_llm, record, event, tmp_path):
    """
    A closed pipe ends the output without a word.
    """
    process = otel_llm("tail", "--json", "-n", "2000", "--db", record(tmp_path / "c.db", *map(event, range(2000))))
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(20), process.stderr.read()) == (141, "")


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_exits_130(otel_llm, record, event, tmp_path):
    """
    Ctrl-C ends what follows, without a traceback.
    """
    process = otel_llm("tail", "-f", "--json", "--db", record(tmp_path / "c.db", event()))
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert (process.wait(20), process.stderr.read()) == (130, "")
