"""Plugins are found by name, and a broken one is told apart from one whose client is missing."""

import subprocess
import sys

import pytest

from otel_llm import plugins
from otel_llm.entry_points import conflicts
from otel_llm.errors import MissingExtra, SettingsError, UnknownPlugin
from otel_llm.settings import SinkSettings, load

SINK = """
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Options:
    topic: str

class AcmeSink:
    Options = Options
    def __init__(self, options):
        self.options = options
"""


class TestSinks:
    def test_made_from_its_settings(self, install):
        """A third party's sink is switched on by name and gets its options."""
        install("acme", SINK, otel_llm_sink="acme = acme:AcmeSink")
        (settings,) = load(environ={"OTEL_LLM_SINKS": "acme", "OTEL_LLM_ACME_TOPIC": "llm"}).sinks
        assert plugins.make_sink(settings).options.topic == "llm"

    def test_bad_options(self, install):
        """Options that do not fit raise with every problem, and `check_sink` gives the same ones."""
        install("acme", SINK, otel_llm_sink="acme = acme:AcmeSink")
        (settings,) = load(environ={"OTEL_LLM_SINKS": "acme", "OTEL_LLM_ACME_TOPICS": "canary"}).sinks
        with pytest.raises(SettingsError) as caught:
            plugins.make_sink(settings)
        assert caught.value.problems == plugins.check_sink(settings)
        assert str(caught.value) == (
            "environment OTEL_LLM_ACME_TOPICS: found an unknown option, expected topic (did you mean 'topic'?)\n"
            "sinks.acme.topic: found nothing, expected a value, as it has no default"
        )

    def test_unknown(self, install):
        """An unknown name lists the known ones and suggests the nearest."""
        install("acme", SINK, otel_llm_sink="acme = acme:AcmeSink")
        with pytest.raises(UnknownPlugin, match=r"the sink 'acmee' \(did you mean 'acme'\?\); known: acme, "):
            plugins.sink_class("acmee")

    def test_missing_client(self, install):
        """A sink whose client is not installed says how to install it."""
        install("acme", "import acme_client_that_is_missing", ("bus",), otel_llm_sink="bus = acme:AcmeSink")
        with pytest.raises(MissingExtra) as caught:
            plugins.sink_class("bus")
        assert str(caught.value) == "the bus sink needs its client: pip install 'acme[bus]'"

    def test_missing_client_without_an_extra(self, install):
        """A package that offers no extra names the module instead."""
        install("acme", "import acme_client_that_is_missing", otel_llm_sink="bus = acme:AcmeSink")
        with pytest.raises(MissingExtra, match="No module named 'acme_client_that_is_missing'"):
            plugins.sink_class("bus")

    @pytest.mark.parametrize("source", ["import acme.inner", "import otel_llm.gone", "1 / 0", "x = 1"])
    def test_broken(self, install, source):
        """A sink that is itself broken is not taken for one without its client."""
        install("acme", source, otel_llm_sink="acme = acme:AcmeSink")
        with pytest.raises(UnknownPlugin, match="the acme sink of acme cannot be loaded"):
            plugins.sink_class("acme")
        assert len(plugins.check_sink(SinkSettings("acme", "acme"))) == 1

    def test_names(self, install):
        """The names of a group are those of all installed packages."""
        install("acme", SINK, otel_llm_sink="acme = acme:AcmeSink")
        assert {"acme", "sqlite", "jsonl", "stdout"} <= set(plugins.names(plugins.SINKS))

    def test_two_packages_with_one_name(self, install):
        """Where two packages claim a name the first is used and the conflict is told."""
        install("acme", SINK, otel_llm_sink="acme = acme:AcmeSink")
        install("acme2", SINK, otel_llm_sink="acme = acme2:AcmeSink")
        (problem,) = conflicts("otel_llm_sink")
        assert "acme (acme:AcmeSink)" in problem.found
        assert "acme2 (acme2:AcmeSink)" in problem.found


class TestDialectsAndClients:
    def test_a_broken_dialect_is_left_out(self, install, capsys):
        """A dialect that cannot be made is reported once; the others stay."""
        install("acme", "class Good: pass", otel_llm_dialect="good = acme:Good\nbad = acme:Bad")
        install("acme2", "1 / 0", otel_llm_dialect="worse = acme2:Worse")
        names = {type(dialect).__name__ for dialect in plugins.dialects()}
        plugins.dialects()
        report = capsys.readouterr().err
        assert "Good" in names
        assert report.count("the dialect 'bad' of acme is left out: AttributeError") == 1
        assert report.count("the dialect 'worse' of acme2 is left out: ZeroDivisionError") == 1

    def test_clients(self, install):
        """Clients come by name."""
        install("acme", "CLIENT = object()", otel_llm_client="acme = acme:CLIENT")
        assert type(plugins.clients()["acme"]) is object


def test_no_sink_is_imported_for_settings_or_dialects():
    """Loading settings and dialects imports no sink's file, no YAML and no client library."""
    program = (
        "import sys\n"
        "from otel_llm import plugins\n"
        "from otel_llm.settings import load\n"
        "load(environ={'OTEL_LLM_SINKS': 'sqlite,jsonl'})\n"
        "plugins.dialects()\n"
        "heavy = {'sqlite3', 'yaml', 'rich', 'httpx', 'httpx2', 'openai', 'genai_prices'}\n"
        "print(sorted(name for name in sys.modules if name in heavy or name.startswith('otel_llm_exporters.')))\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
