"""`otel-llm collector-config`."""

from pathlib import Path

import pytest

from otel_llm.cli.main import main

FILES = sorted((Path(__file__).parents[3] / "collector-config").glob("*.yaml"))


def test_lists_them(capsys):
    """
    Without a name each file is one line, with what it does.
    """
    assert main(["collector-config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [path.stem for path in FILES]
    assert all(line.endswith(path.read_text().splitlines()[0][2:]) for line, path in zip(lines, FILES, strict=True))


@pytest.mark.parametrize("name", ["agent", "agent.yaml"])
def test_prints_one(capsys, name):
    """
    A name, or a file's name, prints the file as it is.
    """
    assert main(["collector-config", name]) == 0
    assert capsys.readouterr().out == FILES[0].read_text()


def test_unknown_name(capsys):
    """
    An unknown name is answered with all that there are, and the nearest.
    """
    assert main(["collector-config", "gatewai"]) == 2
    told = capsys.readouterr().err
    assert "expected agent, clickhouse, gateway," in told
    assert told.endswith("(did you mean 'gateway'?)\n")
