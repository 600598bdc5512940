"""The pages of the sinks, `docs/sinks/`: current, complete, and with examples that work."""

import re
from pathlib import Path

import pytest
import yaml
from sink_harness import sinks

from otel_llm import plugins
from otel_llm.cli.sink_pages import pages
from otel_llm.settings import load
from otel_llm.settings.reference import field_docs

DOCS = Path(__file__).parents[2] / "docs" / "sinks"


def test_pages_are_current():
    """`docs/sinks` is what the sinks' files say; `python -m otel_llm.cli.sink_pages` writes it."""
    assert {path.name: path.read_text("utf-8") for path in DOCS.iterdir()} == pages()


@pytest.mark.parametrize("sink", sinks())
def test_every_option_is_explained(sink):
    """Each option of each sink has its sentence."""
    options = plugins.sink_class(sink).Options
    assert field_docs(options).keys() == options.__dataclass_fields__.keys()


@pytest.mark.parametrize("sink", sinks())
def test_examples_in_a_file(sink, tmp_path):
    """The examples to copy into a file switch the sink on, and nothing is reported."""
    for number, example in enumerate(_blocks(sink, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example)
        assert _problems({"OTEL_LLM_CONFIG": str(file)}, yaml.safe_load(example)["sinks"]) == []


@pytest.mark.parametrize("sink", sinks())
def test_examples_in_the_environment(sink):
    """The examples to copy into a shell mean what those in a file do."""
    examples = [example for example in _blocks(sink, "console") if "export" in example]
    for example in examples:
        environ = dict(re.findall(r"^\$ export (\w+)='?(.*?)'?$", example, re.MULTILINE))
        assert _problems(environ, environ["OTEL_LLM_SINKS"].split(",")) == []
    assert len(examples) == len(_blocks(sink, "yaml"))


def _blocks(sink, kind):
    """
    Give the fenced blocks of one kind that stand before the options.
    """
    head = (DOCS / f"{sink}.md").read_text("utf-8").partition("\n## Options\n")[0]
    return re.findall(rf"```{kind}\n(.*?)```", head, re.DOTALL)


def _problems(environ, names):
    loaded = load(environ=environ)
    assert [one.name for one in loaded.sinks] == list(names)
    return [*loaded.problems, *(problem for one in loaded.sinks for problem in plugins.check_sink(one))]
