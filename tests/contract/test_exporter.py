"""
Our sinks as OpenTelemetry's log exporters, also where nothing else of ours runs.
"""

import importlib.metadata

import pytest
from launch import Application
from opentelemetry.sdk._logs.export import LogRecordExporter

from otel_llm.delivery import exporter

LOGS = """
import logging, sys
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from otel_llm.delivery import exporter

provider = LoggerProvider()
logger = provider.get_logger("another.instrumentation", "1.2")

def batch(exporter):
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))

def emit(name="gen_ai.client.inference.operation.details", **attributes):
    told = {name.replace("__", "."): value for name, value in attributes.items()}
    logger.emit(LogRecord(timestamp=1_793_700_900_000_000_000, event_name=name, attributes=told))

CHAT = {
    "gen_ai__operation__name": "chat",
    "gen_ai__provider__name": "acme",
    "gen_ai__request__model": "acme-1",
    "gen_ai__usage__input_tokens": 7,
}
"""
"""An application with a LoggerProvider of its own, and another instrumentation that emits GenAI records."""

COLUMNS = "provider, request_model, input_tokens, ended_at"
ROW = ("acme", "acme-1", 7, "2026-11-03 10:15:00.000")


@pytest.fixture
def application(tmp_path, server):
    running = Application(tmp_path, server)
    yield running
    running.close()


def run(application, source, **settings):
    """
    Run an application that is not instrumented.
    """
    done = application.run(LOGS + source, launcher=None, **settings)
    assert done.returncode == 0, done.stderr
    return done


class TestClass:
    """What OpenTelemetry's configuration looks at."""

    def test_every_entry_point(self):
        """
        Each sink has an exporter of its own: a real class, which can be made without arguments and does nothing then.
        """
        named = importlib.metadata.entry_points(group="opentelemetry_logs_exporter")
        sinks = {entry_point.name for entry_point in importlib.metadata.entry_points(group="otel_llm_sink")}
        classes = {entry_point.name: entry_point.load() for entry_point in named if entry_point.name.startswith("llm_")}
        assert {name.removeprefix("llm_") for name in classes} == sinks
        assert all(issubclass(each, LogRecordExporter) for each in classes.values())

    def test_third_party(self):
        """
        A third party's sink is known by its name, and the class tells it.
        """
        assert exporter.acme_store is exporter.acme_store
        assert (exporter.acme_store.__name__, exporter.acme_store.sink) == ("AcmeStoreExporter", "acme_store")

    def test_what_is_no_sink(self):
        """
        Names that Python itself asks a module for are no sinks.
        """
        with pytest.raises(AttributeError):
            getattr(exporter, "_private")  # noqa: B009


class TestAlone:
    """No hook, no pipeline: a LoggerProvider and our exporter."""

    def test_records_of_others(self, application):
        """
        Another instrumentation's GenAI record is journaled and delivered; other logs are not for us.
        """
        done = run(
            application,
            "batch(exporter.sqlite(path='calls.db'))\n"
            "emit(**CHAT)\n"
            "emit(name='app.started', level='fine')\n"
            "emit(name='gen_ai.client.operation.exception', gen_ai__operation__name='chat')\n"
            "print(provider.force_flush())\n",
        )
        assert (done.stdout, done.stderr) == ("True\n", "")
        assert application.rows("calls.db", COLUMNS) == [ROW]

    @pytest.mark.slow
    def test_two_sinks(self, application):
        """
        Two exporters with different options are two sinks, each gets the record once; a copy has the same id.
        """
        run(
            application,
            "batch(exporter.sqlite(path='one.db'))\n"
            "provider.add_log_record_processor(SimpleLogRecordProcessor(exporter.sqlite(path='two.db')))\n"
            "emit(**CHAT)\n",
        )
        ids = [application.rows(name, "event_id") for name in ("one.db", "two.db")]
        assert (ids[0], len(ids[0])) == (ids[1], 1)

    @pytest.mark.slow
    def test_exporter_that_comes_late(self, application):
        """
        A sink that is added while records flow receives what comes after it.
        """
        run(
            application,
            "batch(exporter.sqlite(path='one.db'))\nemit(**CHAT)\nprovider.force_flush()\n"
            "batch(exporter.sqlite(path='two.db'))\nemit(**CHAT)\n",
        )
        assert [len(application.rows(name)) for name in ("one.db", "two.db")] == [2, 1]

    @pytest.mark.slow
    def test_settings_of_the_environment(self, application):
        """
        Options that the code does not give come from our variables, and the journal is where they say.
        """
        run(
            application,
            "batch(exporter.sqlite())\nemit(**CHAT)\n",
            OTEL_LLM_SQLITE_PATH="calls.db",
            OTEL_LLM_JOURNAL_DIR="journal",
        )
        assert application.rows("calls.db", COLUMNS) == [ROW]
        assert (application.folder / "journal").is_dir()

    def test_wrong_options(self, application):
        """
        Options nobody knows raise nothing: one line, that sink is off, the other has the record.
        """
        done = run(
            application,
            "batch(exporter.stdout(output='paper'))\n"
            "batch(exporter.acme(colour='red'))\n"
            "batch(exporter.sqlite(path='calls.db'))\n"
            "emit(**CHAT)\nprovider.force_flush()\n",
        )
        assert (done.stderr.count("'paper'"), done.stderr.count("unknown sink 'acme'")) == (1, 1)
        assert application.rows("calls.db", COLUMNS) == [ROW]

    def test_diagnostics_stay_ours(self, application):
        """
        What couriers have to say goes to our own log on stderr, never into the application's logging.
        """
        (application.folder / "folder.db").mkdir()
        done = run(
            application,
            "logging.basicConfig(stream=sys.stdout)\n"
            "batch(exporter.sqlite(path='folder.db'))\nemit(**CHAT)\nprovider.force_flush()\n",
            OTEL_LLM_EXIT_TIMEOUT_MS="200",
        )
        assert (done.stdout, done.stderr.startswith("otel-llm WARNING: sqlite")) == ("", True), done.stderr

    @pytest.mark.slow
    def test_switched_off(self, application):
        """
        `OTEL_LLM_ENABLED=false` makes an exporter that takes records and does nothing.
        """
        done = run(application, "batch(exporter.sqlite())\nemit(**CHAT)\n", OTEL_LLM_ENABLED="false")
        assert (done.stderr, application.left) == ("", set())

    @pytest.mark.slow
    def test_switched_on_later(self, application):
        """
        `configure` after the exporter was used keeps its sink and adds those that it names.
        """
        run(
            application,
            "import otel_llm\nbatch(exporter.sqlite(path='calls.db'))\nemit(**CHAT)\nprovider.force_flush()\n"
            "otel_llm.configure(sinks={'jsonl': {'path': 'stores'}})\nemit(**CHAT)\nprovider.force_flush()\n"
            "assert sorted(otel_llm.stats()) == ['jsonl', 'sqlite'], otel_llm.stats()\n",
        )
        assert (len(application.rows("calls.db")), len(application.documents("stores/usage"))) == (2, 1)
