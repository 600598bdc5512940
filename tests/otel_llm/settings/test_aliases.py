"""Settings written for other systems go on working."""

import pytest

from otel_llm.plugins import check_sink
from otel_llm.settings import load


def test_analytics_plugin(load_yaml):
    """Bifrost's names name the one sink, its options and the batching."""
    loaded = load_yaml(
        "SinkType: jsonl\n"
        "SinkConfig: {path: x, batch_timeout: 500}\n"
        "BatchSize: 500\nFlushIntervalMs: 100\nDropOnBackpressure: true\nCustomLabels: [team]\nAsyncWorkers: 4\n"
    )
    (sink,) = loaded.sinks
    settings = loaded.settings
    assert loaded.problems == ()
    assert (sink.name, sink.options, sink.common.flush_interval_ms) == ("jsonl", {"path": "x"}, 500)
    assert (settings.batch_size, settings.when_full, settings.custom_labels) == (500, "drop_new", ("team",))
    assert (settings.flush_interval_ms, settings.async_workers) == (100, 4)


def test_snake_case_sink_type(load_yaml):
    """The same names in snake case do the same."""
    loaded = load_yaml("sink_type: jsonl\nsink_config: {path: x}")
    assert loaded.sinks[0].options == {"path": "x"}


def test_single_sink_yields_to_ours(load_yaml):
    """Where both spellings name sinks, ours is taken."""
    assert load_yaml("sink_type: jsonl\nsinks: [stdout]").settings.sinks == ("stdout",)


def test_batch_delay_is_the_flush_interval():
    """`batch_delay_ms` of a sink is its flush interval, in the environment too."""
    loaded = load(environ={"OTEL_LLM_SINKS": "jsonl", "OTEL_LLM_JSONL_BATCH_DELAY_MS": "10"})
    assert loaded.sinks[0].common.flush_interval_ms == 10


class TestEnabledExporters:
    def test_names_sinks(self):
        """ENABLED_EXPORTERS names sinks when nothing else does; `console` is stdout."""
        loaded = load(environ={"ENABLED_EXPORTERS": "console,jsonl"})
        assert (loaded.settings.sinks, loaded.problems) == (("stdout", "jsonl"), ())

    def test_yields(self):
        """OTEL_LLM_SINKS wins."""
        loaded = load(environ={"ENABLED_EXPORTERS": "console,prometheus", "OTEL_LLM_SINKS": "jsonl"})
        assert (loaded.settings.sinks, loaded.problems) == (("jsonl",), ())

    def test_prometheus(self):
        """Prometheus takes metrics: the report says which variable it belongs in."""
        loaded = load(environ={"ENABLED_EXPORTERS": "prometheus,console"})
        assert "OTEL_METRICS_EXPORTER=prometheus" in loaded.problems[0].expected
        assert loaded.settings.sinks == ("stdout",)

    def test_unknown_name(self):
        """An unknown name lists the known ones."""
        (problem,) = load(environ={"ENABLED_EXPORTERS": "jsnl"}).problems
        assert (problem.nearest, "stdout" in problem.expected) == ("jsonl", True)


class TestStoragePath:
    def test_fills_a_named_sink(self):
        """METRICS_STORAGE_PATH fills the path of a SQLite sink, whatever its name."""
        loaded = load({"sinks": {"calls": {"type": "sqlite"}}}, {"METRICS_STORAGE_PATH": "m.db"})
        assert loaded.sinks[0].options == {"path": "m.db"}

    def test_switches_nothing_on(self):
        """Alone it switches no sink on."""
        assert load(environ={"METRICS_STORAGE_PATH": "m.db", "METRICS_ENABLED": "true"}).sinks == ()

    def test_yields_to_our_names(self, load_yaml):
        """It yields to our own name, even to one in the file."""
        loaded = load_yaml("sinks: {sqlite: {path: ours.db}}", {"METRICS_STORAGE_PATH": "m.db"})
        assert loaded.sinks[0].options == {"path": "ours.db"}

    def test_environment_beats_its_own_file_name(self, load_yaml):
        """It wins over `metrics_storage_path` in the file."""
        text = "metrics_storage_path: file.db\nsinks: [sqlite]"
        assert load_yaml(text).sinks[0].options == {"path": "file.db"}
        assert load_yaml(text, {"METRICS_STORAGE_PATH": "m.db"}).sinks[0].options == {"path": "m.db"}


def test_usage_api_names(load_yaml):
    """The flat names of the metrics service are options of the usage API."""
    loaded = load_yaml(
        "metrics_enabled: true\nmetrics_bind_address: 127.0.0.1:8081\nmetrics_basic_auth_user: u\nport: 8080\n",
        {"METRICS_BASIC_AUTH_PASS": "p"},
    )
    assert loaded.problems == ()
    assert loaded.settings.api == {
        "enabled": True,
        "bind_address": "127.0.0.1:8081",
        "basic_auth_user": "u",
        "basic_auth_pass": "p",
    }
    assert loaded.settings.gateway == {"port": 8080}


def test_usage_statistics_switch(load_yaml):
    """`usage_statistics_enabled: false` switches everything off."""
    assert not load_yaml("usage_statistics_enabled: false").settings.enabled


def test_usage_log_stores(load_yaml):
    """The nested `logging` section fills the stores of a named JSONL sink."""
    loaded = load_yaml(
        "sinks: [jsonl]\n"
        "logging:\n"
        "  usage: {enabled: true, storagePath: ./u, retentionDays: 30}\n"
        "  debug: {enabled: false, captureRequests: true}\n"
        "  errors: {storagePath: ./e}\n"
    )
    assert loaded.problems == ()
    assert loaded.sinks[0].options == {
        "usage_enabled": True,
        "usage_path": "./u",
        "usage_retention_days": 30,
        "debug_enabled": False,
        "debug_capture_requests": True,
        "errors_path": "./e",
    }
    assert check_sink(loaded.sinks[0]) == ()


def test_standard_output(load_yaml):
    """The analytics plugin's options of standard output are those of our sink."""
    loaded = load_yaml("SinkType: stdout\nSinkConfig: {pretty: true, output: stderr}")
    assert check_sink(loaded.sinks[0]) == loaded.problems == ()


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("OTEL_BLRP_SCHEDULE_DELAY", "flush_interval_ms"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "batch_size"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "buffer_size"),
    ],
)
def test_batch_processor_variables(variable, setting, load_yaml):
    """OpenTelemetry's batch variables count where ours are unset."""
    assert getattr(load(environ={variable: "17"}).settings, setting) == 17
    assert getattr(load_yaml(f"{setting}: 5", {variable: "17"}).settings, setting) == 5
