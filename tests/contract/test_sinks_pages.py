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


@pytest.fixture(scope="module")
def written():
    """
    Give the pages as they would be written now.
    """
    return pages()


@pytest.mark.parametrize("name", ["README", *sinks()])
def test_pages_are_current(written, name):
    """Each page is what its sink's file says; `python -m otel_llm.cli.sink_pages` writes it."""
    page = DOCS / f"{name}.md"
    assert page.exists(), "run `python -m otel_llm.cli.sink_pages`"
    assert page.read_text("utf-8") == written[page.name]


def test_no_page_is_left_over(written):
    """A sink that is gone leaves no page."""
    assert {path.name for path in DOCS.iterdir()} - written.keys() == set()


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
        file.write_text(_with_files(example, tmp_path))
        assert _problems({"OTEL_LLM_CONFIG": str(file)}, yaml.safe_load(example)["sinks"]) == []


@pytest.mark.parametrize("sink", sinks())
def test_examples_in_the_environment(sink, tmp_path):
    """The examples to copy into a shell mean what those in a file do."""
    examples = [example for example in _blocks(sink, "console") if "export" in example]
    for example in examples:
        environ = dict(re.findall(r"^\$ export (\w+)='?(.*?)'?$", _with_files(example, tmp_path), re.MULTILINE))
        assert _problems(environ, environ["OTEL_LLM_SINKS"].split(",")) == []
    assert len(examples) == len(_blocks(sink, "yaml"))


def _with_files(example, folder):
    """
    Let the files that an example names be there.
    """
    there = folder / "file"
    there.write_text("something")
    return re.sub(r"(_file: |_FILE=)[^\s,}]+", rf"\g<1>{there}", example)


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
