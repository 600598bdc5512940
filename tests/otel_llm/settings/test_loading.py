"""Precedence, origins and the one report of all mistakes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.errors import Problem
from otel_llm.settings import Settings, environment_name, load


class TestPrecedence:
    def test_code_beats_environment_beats_file(self, load_yaml):
        """Code wins over the environment, which wins over the file."""
        text = "batch_size: 1\nblock_ms: 1\nbuffer_size: 1"
        environ = {"OTEL_LLM_BATCH_SIZE": "2", "OTEL_LLM_BLOCK_MS": "2"}
        loaded = load_yaml(text, environ, {"batch_size": 3})
        settings = loaded.settings
        assert (settings.batch_size, settings.block_ms, settings.buffer_size) == (3, 2, 1)

    def test_sink_options_are_merged_one_by_one(self, load_yaml):
        """An option of a sink comes from the strongest place that gives it; the others stay."""
        loaded = load_yaml(
            "sinks: {jsonl: {path: file, a: file, b: file}}",
            {"OTEL_LLM_JSONL_PATH": "environment", "OTEL_LLM_JSONL_A": "environment"},
            {"sinks": {"jsonl": {"path": "code"}}},
        )
        assert loaded.sinks[0].options == {"path": "code", "a": "environment", "b": "file"}

    def test_sink_origins(self, load_yaml):
        """Each option of a sink remembers where it came from."""
        loaded = load_yaml("sinks: {jsonl: {path: x}}", {"OTEL_LLM_JSONL_FORMAT": "usage"})
        assert loaded.origins["sinks.jsonl.format"] == "environment OTEL_LLM_JSONL_FORMAT"
        assert loaded.origins["sinks.jsonl.path"].startswith("file ")

    def test_file_twin_of_a_stronger_place_wins(self, load_yaml):
        """`password_file` in the environment replaces `password` in the file."""
        loaded = load_yaml("sinks: {stdout: {password: old}}", {"OTEL_LLM_STDOUT_PASSWORD_FILE": "/secrets/p"})
        assert loaded.sinks[0].options == {"password_file": "/secrets/p"}

    def test_empty_variables_count_as_unset(self, load_yaml):
        """An empty environment variable leaves the file's value alone."""
        assert load_yaml("batch_size: 5", {"OTEL_LLM_BATCH_SIZE": " "}).settings.batch_size == 5


class TestSinkNames:
    def test_environment_chooses_among_those_of_the_file(self, load_yaml):
        """With OTEL_LLM_SINKS only the sinks named there are on, with the file's options."""
        loaded = load_yaml("sinks: {jsonl: {path: x}, stdout: {}}", {"OTEL_LLM_SINKS": "jsonl"})
        assert [(sink.name, sink.options) for sink in loaded.sinks] == [("jsonl", {"path": "x"})]

    def test_none_switches_all_off(self, load_yaml):
        """`none` switches off what the file names."""
        assert load_yaml("sinks: {jsonl: {}}", {"OTEL_LLM_SINKS": "none"}).sinks == ()

    def test_several_sinks_of_one_type(self, load_yaml):
        """A sink with a `type` has its own name and its own variables."""
        loaded = load_yaml(
            "sinks: {eu-calls: {type: sqlite}, sqlite: {}}",
            {"OTEL_LLM_EU_CALLS_PATH": "eu.db", "OTEL_LLM_SQLITE_PATH": "all.db"},
        )
        found = {sink.name: (sink.type, sink.options["path"]) for sink in loaded.sinks}
        assert found == {"eu-calls": ("sqlite", "eu.db"), "sqlite": ("sqlite", "all.db")}

    def test_type_by_environment(self):
        """The type of a sink can be given by its variable."""
        loaded = load(environ={"OTEL_LLM_SINKS": "calls", "OTEL_LLM_CALLS_TYPE": "jsonl"})
        assert [(sink.name, sink.type, sink.options) for sink in loaded.sinks] == [("calls", "jsonl", {})]

    def test_sinks_as_a_list(self, load_yaml):
        """A file may list sinks without options."""
        assert load_yaml("sinks: [jsonl, stdout]").settings.sinks == ("jsonl", "stdout")

    def test_common_options_inherit(self):
        """Batching of a sink is the process's unless the sink says otherwise."""
        environ = {"OTEL_LLM_SINKS": "jsonl", "OTEL_LLM_BATCH_SIZE": "7", "OTEL_LLM_JSONL_ASYNC_WORKERS": "3"}
        common = load(environ=environ).sinks[0].common
        assert (common.batch_size, common.async_workers, common.flush_interval_ms) == (7, 3, 1000)


class TestMistakes:
    def test_all_at_once(self, load_yaml):
        """Every mistake of every place is in one report, with place, finding, expectation and the nearest name."""
        loaded = load_yaml(
            "durability: proces\nbatchsize: 3\nsinks: {sqlit: {}, jsonl: {sample: 2}, stdout: {}}",
            {"OTEL_LLM_BLOCK_MS": "soon", "OTEL_LLM_SINK": "x"},
            {"nativespans": "replace"},
        )
        assert [sink.name for sink in loaded.sinks] == ["stdout"]
        found = {problem.where.rpartition("/")[2]: problem for problem in loaded.problems}
        assert found.keys() == {
            "otel-llm.yaml: durability",
            "otel-llm.yaml: batchsize",
            "otel-llm.yaml: sinks",
            "otel-llm.yaml: sinks.jsonl.sample",
            "environment OTEL_LLM_BLOCK_MS",
            "environment OTEL_LLM_SINK",
            "code: nativespans",
        }
        assert found["otel-llm.yaml: durability"].nearest == "process"
        assert found["otel-llm.yaml: batchsize"].nearest == "batch_size"
        assert found["otel-llm.yaml: sinks"].nearest == "sqlite"
        assert found["environment OTEL_LLM_SINK"].nearest == "OTEL_LLM_SINKS"
        assert found["code: nativespans"].nearest == "native_spans"

    def test_unknown_option_variable_suggests_its_sink(self):
        """A misspelt sink in a variable is recognised."""
        loaded = load(environ={"OTEL_LLM_STDOT_PRETTY": "1"})
        assert loaded.problems[0].nearest == "OTEL_LLM_STDOUT_PRETTY"

    def test_variables_of_a_sink_that_is_not_on_are_fine(self):
        """A sink may be switched on elsewhere, so variables of an installed one are no mistake."""
        assert load(environ={"OTEL_LLM_SQLITE_PATH": "calls.db"}).problems == ()

    @pytest.mark.parametrize(
        ("name", "text", "place"),
        [
            ("s.yaml", "a: [1,\nb: *hunter2", "line 2"),
            ("s.json", '{"a":\n}', "line 2"),
            ("s.toml", "a = 1\nb = = hunter2", "line 2"),
            ("s.yaml", "- a", ""),
            ("s.yaml", "\x00", ""),
        ],
    )
    def test_malformed_files(self, tmp_path, name, text, place):
        """A file that cannot be parsed is one problem, with the line and without a quotation."""
        (tmp_path / name).write_text(text)
        (problem,) = load({"config": tmp_path / name}, {}).problems
        assert place in problem.where
        assert "hunter2" not in str(problem)

    def test_missing_file(self, tmp_path):
        """A file that is not there is a problem, and the rest works."""
        path = tmp_path / "gone.yaml"
        loaded = load(environ={"OTEL_LLM_CONFIG": str(path), "OTEL_LLM_BATCH_SIZE": "5"})
        assert loaded.problems == (Problem(f"file {path}", "No such file or directory", "a readable file"),)
        assert loaded.settings.batch_size == 5

    @pytest.mark.parametrize("text", ["sinks: 5.5", "sinks: {jsonl: 3}", "api: 3", "sinks: [{a: b}]", "pricing: 3"])
    def test_misplaced_values(self, load_yaml, text):
        """A value where a mapping belongs is one problem and switches the sink off."""
        loaded = load_yaml(text)
        assert (len(loaded.problems), loaded.sinks) == (1, ())

    @pytest.mark.parametrize(("name", "text"), [("s.json", '{"batch_size": 9}'), ("s.toml", "batch_size = 9")])
    def test_other_file_formats(self, tmp_path, name, text):
        """JSON and TOML are read by their suffix."""
        (tmp_path / name).write_text(text)
        assert load({"config": str(tmp_path / name)}, {}).settings.batch_size == 9


KEYS = st.sampled_from(
    ["sinks", "jsonl", "api", "SinkType", "SinkConfig", "logging", "usage", "type", "where", "batch_size"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner, max_size=3),
    max_leaves=8,
)
NAMES = [environment_name(name) for name in Settings.__dataclass_fields__]
VARIABLES = st.sampled_from(
    sorted({*NAMES, "ENABLED_EXPORTERS", "OTEL_LLM_JSONL_WHERE", "OTEL_LLM__"} - {"OTEL_LLM_CONFIG"})
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(VARIABLES, st.text(max_size=8), max_size=4))
def test_nothing_raises(code, environ):
    """Whatever stands in a document or a variable, loading gives settings and problems."""
    loaded = load(code, environ)
    assert loaded.settings.batch_size > 0


class TestOpenTelemetryExporters:
    def test_they_are_on_besides(self):
        """Sinks that OpenTelemetry's configuration names are on besides ours, with its options as the weakest."""
        loaded = load(
            environ={"OTEL_LLM_SINKS": "stdout", "OTEL_LLM_JSONL_PATH": "environment"},
            exporters={"jsonl": {"path": "yaml", "usage": True}, "stdout": {}},
        )
        found = {sink.name: sink.options for sink in loaded.sinks}
        assert found == {"stdout": {}, "jsonl": {"path": "environment", "usage": True}}

    def test_their_origin(self):
        """Options given there say so."""
        loaded = load(environ={}, exporters={"jsonl": {"path": "yaml"}})
        assert loaded.origins["sinks.jsonl.path"] == "OpenTelemetry's configuration"


class TestSecrets:
    def test_values_of_options_are_never_printed(self, load_yaml):
        """Neither what is loaded nor a problem shows what an option of a sink holds."""
        loaded = load_yaml(
            "sinks: {jsonl: {password: canary-1, where: canary-2}, stdout: {api_key: canary-3}}\n"
            "api: {basic_auth_pass: canary-4}",
            {"OTEL_LLM_STDOUT_TOKEN": "canary-5", "OTEL_LLM_STDUOT_TOKEN": "canary-6"},
        )
        assert "canary" not in f"{loaded!r} {loaded} {[str(problem) for problem in loaded.problems]}"
        assert len(loaded.problems) == 2


def test_journal_without_a_home(monkeypatch):
    """A user without a home directory gets a journal among the temporary files."""
    monkeypatch.setattr(Path, "home", _no_home)
    assert load(environ={}).settings.journal_dir.name == "journal"


def _no_home() -> Path:
    raise RuntimeError
