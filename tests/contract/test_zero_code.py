"""
Switched on from outside: the application is never told, and its calls are in the store.
"""

import json
import signal
import stat

import pytest
from collector import Collector
from installations import environment
from launch import ANSWER, CHAT, ROW, Application

WAITS = CHAT + "print('called', flush=True)\ninput()\n"
KEPT = {"OTEL_LLM_SINKS": "sqlite", "OTEL_LLM_FLUSH_INTERVAL_MS": "60000"}
"""Nothing is delivered before the process ends."""


@pytest.fixture
def application(tmp_path, server):
    running = Application(tmp_path, server)
    yield running
    running.close()


@pytest.fixture(scope="module")
def python():
    """
    Give an interpreter that has otel-llm without extras, and so no opentelemetry-distro.
    """
    return environment("without-distro", "openai>=3", source=True)


def declared(application, processors):
    """
    Write a declarative configuration with these log record processors; give its variables.
    """
    path = application.folder / "otel.yaml"
    path.write_text(json.dumps({"file_format": "1.0", "logger_provider": {"processors": processors}}))
    return {"OTEL_CONFIG_FILE": str(path)}


def batch(**exporter):
    return {"batch": {"exporter": exporter}}


class TestSinks:
    """Every way of naming a sink ends in one record."""

    @pytest.mark.parametrize(
        "settings",
        [
            {"OTEL_LLM_SINKS": "sqlite"},
            {"OTEL_LOGS_EXPORTER": "llm_sqlite"},
            {"OTEL_LOGS_EXPORTER": "llm_sqlite", "OTEL_LLM_SINKS": "sqlite"},
        ],
        ids=["sinks", "exporter", "both"],
    )
    def test_a_call_is_one_row(self, settings, application):
        """
        A sink named to us, to OpenTelemetry, or to both is one sink, and a call is one row.
        """
        done = application.run(CHAT, **settings)
        assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER, "")
        assert application.rows() == [ROW]

    @pytest.mark.slow
    def test_exporter_has_the_options_of_the_sink(self, application):
        """
        The options of a sink that OpenTelemetry names are read from our variables.
        """
        application.run(CHAT, OTEL_LOGS_EXPORTER="llm_jsonl", OTEL_LLM_JSONL_PATH="stores")
        assert len(application.documents("stores/usage")) == 1

    @pytest.mark.slow
    def test_two_exporters(self, application):
        """
        Each sink among OpenTelemetry's exporters gets the record once.
        """
        done = application.run(CHAT, OTEL_LOGS_EXPORTER="llm_sqlite,llm_stdout")
        answer, line = done.stdout.splitlines()
        told = json.loads(line)["attributes"]
        assert (answer + "\n", told["gen_ai.usage.cost"], application.rows()) == (ANSWER, ROW[-1], [ROW])

    @pytest.mark.slow
    def test_beside_a_collector(self, application):
        """
        OTLP and our sink both get the record, each once.
        """
        with Collector() as collector:
            application.run(CHAT, OTEL_LOGS_EXPORTER="otlp,llm_sqlite", **collector.variables)
            assert collector.logs == ["gen_ai.client.inference.operation.details"]
        assert application.rows() == [ROW]

    @pytest.mark.slow
    def test_collector_that_is_not_there(self, application):
        """
        Our sink has the record while OpenTelemetry still tries to reach a collector.
        """
        with Collector() as collector:
            nowhere = collector.variables
        process = application.start(CHAT, OTEL_LOGS_EXPORTER="otlp,llm_sqlite", **nowhere)
        assert (application.wait_for_rows(1), process.poll()) == ([ROW], None)

    def test_declared_in_a_file(self, application):
        """
        An `OTEL_CONFIG_FILE` names the sink with its options.
        """
        done = application.run(CHAT, **declared(application, [batch(llm_sqlite={"path": "calls.db"})]))
        assert (done.stdout, application.rows("calls.db")) == (ANSWER, [ROW])

    @pytest.mark.slow
    def test_declared_several_times(self, application):
        """
        Different options are different sinks; a broken one is off; also a simple processor delivers once.
        """
        processors = [
            {"simple": {"exporter": {"llm_jsonl": {"path": "stores"}}}},
            batch(llm_sqlite={"path": "one.db"}),
            batch(llm_sqlite={"path": "broken.db", "batch_size": "many"}),
            batch(llm_sqlite={"path": "two.db", "where": {"provider": "openai"}}),
        ]
        done = application.run(CHAT, **declared(application, processors))
        kept = [application.rows(name) for name in ("one.db", "broken.db", "two.db")]
        assert (kept, len(application.documents("stores/usage"))) == ([[ROW], [], [ROW]], 1)
        assert done.stderr.count("otel-llm WARNING") == 1
        assert "batch_size: found 'many', expected a whole number" in done.stderr

    @pytest.mark.slow
    def test_declared_without_logs(self, application):
        """
        Where OpenTelemetry's file sets no logs up, the record goes straight to the sink.
        """
        path = application.folder / "otel.yaml"
        path.write_text("{file_format: '1.0', tracer_provider: {processors: [{batch: {exporter: {console: }}}]}}")
        application.run(CHAT, OTEL_CONFIG_FILE=path, OTEL_LLM_SINKS="sqlite")
        assert application.rows() == [ROW]

    @pytest.mark.slow
    def test_no_sink(self, application):
        """
        Without a sink there is one line for who asks, and nothing on disk.
        """
        done = application.run(CHAT, OTEL_LLM_LOG_LEVEL="info")
        assert (done.stdout, done.stderr.count("otel-llm INFO"), application.left) == (ANSWER, 1, set())

    def test_run(self, application):
        """
        `otel-llm run` needs no variable at all, and OpenTelemetry waits for no collector.
        """
        unset = dict.fromkeys(["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"])
        done = application.run(CHAT, launcher="otel-llm", **unset)
        assert (done.returncode, done.stdout, done.stderr, application.rows()) == (0, ANSWER, "", [ROW])

    @pytest.mark.slow
    def test_module(self, application):
        """
        A program started by `python -m` is observed, too.
        """
        (application.folder / "shop.py").write_text(CHAT)
        done = application.run("-m shop", OTEL_LLM_SINKS="sqlite")
        assert (done.stdout, application.rows()) == (ANSWER, [ROW])


class TestOff:
    """What is not wanted leaves no trace."""

    SHOWS = (
        CHAT + "import sys, threading\nprint([t.name for t in threading.enumerate()], 'genai_prices' in sys.modules)"
    )

    @pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_LLM_ENABLED": "false"}])
    def test_switched_off(self, off, application):
        """
        Switched off, there is no file, no folder, no thread, and the program is what it is without us.
        """
        done = application.run(self.SHOWS, OTEL_LLM_SINKS="sqlite", **off)
        bare = application.run(self.SHOWS, launcher=None)
        assert (done.stdout, done.stderr, done.returncode) == (bare.stdout, bare.stderr, bare.returncode)
        assert application.left == set()

    @pytest.mark.slow
    def test_switched_off_among_exporters(self, application):
        """
        A sink that OpenTelemetry names stays silent when otel-llm is off.
        """
        done = application.run(CHAT, OTEL_LOGS_EXPORTER="llm_sqlite", OTEL_LLM_ENABLED="false")
        assert (done.stdout, application.left) == (ANSWER, set())

    def test_no_call(self, application):
        """
        A program that calls no provider leaves no journal and no store.
        """
        done = application.run("import openai", OTEL_LLM_SINKS="sqlite")
        assert (done.returncode, done.stderr, application.left) == (0, "", set())


class TestMistakes:
    """A mistake costs the sink that it concerns, and one clear report."""

    def test_the_rest_works(self, application):
        """
        Each broken sink is off, each mistake is one line; the others have the record, the program does what it did.
        """
        (application.folder / "llm.yaml").write_text("sinks: {picky: {type: stdout, where: {modl: gpt-4o}}}")
        mistakes = {
            "OTEL_LLM_SINKS": "stdot,jsonl,stdout,picky,sqlite",
            "OTEL_LLM_CONFIG": "llm.yaml",
            "OTEL_LLM_JSONL_BATCH_SIZE": "many",
            "OTEL_LLM_STDOUT_OUTPUT": "paper",
            "OTEL_LLM_DURABILTY": "power",
        }
        done = application.run(CHAT, **mistakes)
        assert (done.returncode, done.stdout, application.rows()) == (0, ANSWER, [ROW])
        told = sorted(line.partition(": ")[2] for line in done.stderr.splitlines())
        assert [line.partition(": found")[0] for line in told] == [
            "environment OTEL_LLM_DURABILTY",
            "environment OTEL_LLM_JSONL_BATCH_SIZE",
            "environment OTEL_LLM_SINKS",
            "sinks.picky.where",
            "the sink stdout is off, its records stay in the journal: environment OTEL_LLM_STDOUT_OUTPUT",
        ]

    @pytest.mark.slow
    def test_settings_file_that_is_missing(self, application):
        """
        A settings file that is not there is said, and the environment alone decides.
        """
        done = application.run(CHAT, OTEL_LLM_SINKS="sqlite", OTEL_LLM_CONFIG="missing.yaml")
        assert (done.stdout, done.stderr.count("missing.yaml"), application.rows()) == (ANSWER, 1, [ROW])

    @pytest.mark.slow
    def test_missing_exporter(self, application):
        """
        With OpenTelemetry's distribution a missing exporter stops its set-up; the program is not affected.
        """
        done = application.run(CHAT, OTEL_LLM_SINKS="sqlite", OTEL_TRACES_EXPORTER="paper")
        assert (done.returncode, done.stdout) == (0, ANSWER)

    @pytest.mark.slow
    def test_store_that_cannot_be_written(self, application):
        """
        Records of a sink that fails wait in the journal, and the program ends as it would.
        """
        (application.folder / "folder.db").mkdir()
        settings = {"OTEL_LLM_SINKS": "sqlite", "OTEL_LLM_EXIT_TIMEOUT_MS": "200"}
        done = application.run(CHAT, OTEL_LLM_SQLITE_PATH="folder.db", **settings)
        (application.folder / "folder.db").rmdir()
        assert (done.returncode, done.stdout) == (0, ANSWER)
        application.run(CHAT, OTEL_LLM_SQLITE_PATH="folder.db", **settings)
        assert application.rows("folder.db") == [ROW, ROW]


class TestEnds:
    """However a process ends, what its calls told is delivered exactly once."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("end", "code"), [("import sys; sys.exit(3)", 3), ("raise RuntimeError('out of luck')", 1)]
    )
    def test_at_once(self, end, code, application):
        """
        A process that ends in order delivers before it is gone, and keeps its exit code.
        """
        done = application.run(CHAT + end, **KEPT)
        assert (done.returncode, done.stdout, application.rows()) == (code, ANSWER, [ROW])

    def test_killed(self, application):
        """
        The moment a call has returned its record survives `kill -9`; the next start delivers it once.
        """
        process = application.start(WAITS, **KEPT)
        assert [process.stdout.readline(), process.stdout.readline()] == [ANSWER, "called\n"]
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert application.rows() == []
        self._restart(application)

    @pytest.mark.slow
    def test_left_without_goodbye(self, application):
        """
        `os._exit` skips everything; the next start delivers.
        """
        done = application.run(CHAT + "import os, sys; sys.stdout.flush(); os._exit(7)", **KEPT)
        assert (done.returncode, done.stdout, application.rows()) == (7, ANSWER, [])
        self._restart(application)

    @pytest.mark.slow
    def test_next_start_elsewhere(self, application):
        """
        A service with an absolute path gets its records from wherever it is started again.
        """
        path = {"OTEL_LLM_SQLITE_PATH": str(application.folder / "otel-llm.db")}
        application.run("import os; os.mkdir('there'); os.chdir('there')" + CHAT + "os._exit(7)", **KEPT, **path)
        self._restart(application, **path)

    def _restart(self, application, **settings):
        process = application.start(WAITS, OTEL_LLM_SINKS="sqlite", **settings)
        application.wait_for_rows(2)
        process.communicate("\n", timeout=30)
        assert (application.rows(), len(set(application.rows(columns="event_id")))) == ([ROW, ROW], 2)
        assert not list(application.journal.glob("*/*/"))

    @pytest.mark.slow
    def test_journal_is_private(self, application):
        """
        Nobody else may read what waits.
        """
        application.run(CHAT + "import os; os._exit(0)", **KEPT)
        modes = {
            path: stat.S_IMODE(path.stat().st_mode) for path in [application.journal, *application.journal.rglob("*")]
        }
        assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
        assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


class TestProcesses:
    """Processes share a store, never a journal."""

    @pytest.mark.slow
    def test_two_at_once(self, application):
        """
        Two processes write into one database at the same time.
        """
        calls = CHAT.replace("print", "[openai.OpenAI().models.list(), print][1]") + CHAT * 4
        both = [application.start(calls, OTEL_LLM_SINKS="sqlite") for _ in range(2)]
        said = [process.communicate(timeout=60)[1] for process in both]
        assert (said, application.rows()) == (["", ""], [ROW] * 10)

    def test_fork(self, application):
        """
        A forked child's call is recorded by the child, and the parent's by the parent, each once.
        """
        forks = CHAT + "import os\nif os.fork() == 0:\n" + _indented(CHAT) + "else:\n    os.wait()\n"
        application.run(forks, OTEL_LLM_SINKS="sqlite")
        assert (application.rows(), len(set(application.rows(columns="event_id")))) == ([ROW, ROW], 2)

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_pool(self, method, application):
        """
        Calls in a pool of processes are recorded, although its children end without `atexit`.
        """
        pool = (
            f"def call(_):\n{_indented(CHAT)}\n"
            "if __name__ == '__main__':\n"
            "    from concurrent.futures import ProcessPoolExecutor\n"
            "    import multiprocessing\n"
            f"    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('{method}')) as pool:\n"
            "        list(pool.map(call, range(4)))\n"
        )
        done = application.run(pool, OTEL_LLM_SINKS="sqlite")
        assert (done.stdout, application.rows()) == (ANSWER * 4, [ROW] * 4)

    @pytest.mark.slow
    def test_own_providers(self, application):
        """
        An application that sets OpenTelemetry up by itself is recorded all the same.
        """
        own = (
            "from opentelemetry import trace, _logs\n"
            "from opentelemetry.sdk.trace import TracerProvider\n"
            "from opentelemetry.sdk._logs import LoggerProvider\n"
            "trace.set_tracer_provider(TracerProvider())\n"
            "_logs.set_logger_provider(LoggerProvider())\n"
        )
        done = application.run(own + CHAT, OTEL_LLM_SINKS="sqlite")
        assert (done.returncode, done.stdout, application.rows()) == (0, ANSWER, [ROW])


@pytest.mark.slow
class TestWithoutDistribution:
    """Without opentelemetry-distro nobody sets OpenTelemetry up; then we do."""

    NOTHING = dict.fromkeys(["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"])

    @pytest.mark.parametrize("settings", [{"OTEL_LLM_SINKS": "sqlite"}, {"OTEL_LOGS_EXPORTER": "llm_sqlite"}])
    def test_a_call_is_one_row(self, settings, python, application):
        """
        Exporters that nobody named are none, so nothing waits for a collector.
        """
        done = application.run(CHAT, python=python, **self.NOTHING | settings)
        assert (done.returncode, done.stdout, done.stderr, application.rows()) == (0, ANSWER, "", [ROW])

    def test_run(self, python, application):
        """
        `otel-llm run` works with the core alone.
        """
        done = application.run(CHAT, python=python, launcher="otel-llm", **self.NOTHING)
        assert (done.stdout, done.stderr, application.rows()) == (ANSWER, "", [ROW])

    @pytest.mark.parametrize(
        "settings",
        [
            {"OTEL_TRACES_EXPORTER": "otlp_proto_grpc", "OTEL_LLM_SINKS": "sqlite"},
            {"OTEL_TRACES_EXPORTER": "otlp_proto_grpc", "OTEL_LOGS_EXPORTER": "llm_sqlite,llm_paper"},
            {"OTEL_CONFIG_FILE": "otel.yaml", "OTEL_LLM_SINKS": "sqlite"},
        ],
        ids=["exporter", "exporters", "declarative"],
    )
    def test_missing_exporter(self, settings, python, application):
        """
        What OpenTelemetry lacks is said in one line, and our sinks have the record.
        """
        done = application.run(CHAT, python=python, **self.NOTHING | settings)
        assert (done.stdout, done.stderr.count("\n"), application.rows()) == (ANSWER, 1, [ROW])
        assert "otel-llm WARNING: OpenTelemetry's exporters are off: RuntimeError" in done.stderr

    @pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_LLM_ENABLED": "false"}])
    def test_switched_off(self, off, python, application):
        """
        Switched off, OpenTelemetry's providers stay as they were.
        """
        shows = CHAT + "from opentelemetry import trace\nprint(type(trace.get_tracer_provider()).__name__)"
        done = application.run(shows, python=python, OTEL_LLM_SINKS="sqlite", **self.NOTHING | off)
        assert (done.stdout, application.left) == (f"{ANSWER}ProxyTracerProvider\n", set())


def _indented(source):
    return "".join(f"    {line}\n" for line in source.splitlines())
