"""
Switched on in code: by an application, a notebook, a library that has set OpenTelemetry up already.
"""

import pytest
from collector import Collector
from launch import ANSWER, ROW, Application

CALL = """
def call():
    print(client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}]
    ).choices[0].message.content)

"""
BEGIN = "import openai\nclient = openai.OpenAI()\n" + CALL + "import otel_llm\n"
"""An application that has its client before it thinks of us."""


@pytest.fixture
def application(tmp_path, server):
    running = Application(tmp_path, server)
    yield running
    running.close()


def run(application, *lines, **settings):
    """
    Run an application in plain Python; give what it printed, and assert that it said nothing else.
    """
    done = application.run(BEGIN + "\n".join(lines), launcher=None, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestSwitchingOn:
    def test_after_the_client_was_made(self, application):
        """
        A client that exists already is observed, options come as a mapping, and flush waits for the sink.
        """
        said = run(
            application,
            "otel_llm.configure(sinks={'mine': {'type': 'sqlite', 'path': 'calls.db'}})",
            "call()",
            "print(otel_llm.flush(10), otel_llm.stats()['mine'].events_sent)",
        )
        assert (said, application.rows("calls.db")) == (f"{ANSWER}True 1\n", [ROW])

    def test_twice(self, application):
        """
        A notebook's cell that runs again changes nothing; another sink replaces the first; each call is one record.
        """
        said = run(
            application,
            "otel_llm.configure(sinks=['sqlite'])",
            "otel_llm.configure(sinks=['sqlite'])",
            "call()",
            "otel_llm.configure(sinks={'jsonl': {'path': 'stores'}})",
            "call()",
            "print(sorted(otel_llm.stats()))",
        )
        assert said == f"{ANSWER * 2}['jsonl']\n"
        assert (application.rows(), len(application.documents("stores/usage"))) == ([ROW], 1)

    @pytest.mark.slow
    def test_inside_a_running_loop(self, application):
        """
        Switched on and flushed inside a coroutine, calls of the async client are recorded.
        """
        said = run(
            application,
            "import asyncio",
            "async def main():",
            "    otel_llm.configure(sinks=['sqlite'])",
            "    client = openai.AsyncOpenAI()",
            "    ask = {'model': 'gpt-4o-mini', 'messages': [{'role': 'user', 'content': 'hi'}]}",
            "    await asyncio.gather(*(client.chat.completions.create(**ask) for _ in range(3)))",
            "    print(otel_llm.flush(10))",
            "    otel_llm.shutdown()",
            "asyncio.run(main())",
        )
        assert (said, application.rows()) == ("True\n", [ROW] * 3)

    def test_providers_that_are_there(self, application):
        """
        An application's own providers stay, and get our span, metrics and record beside what they do already.
        """
        said = run(
            application,
            "from opentelemetry import _logs, metrics, trace",
            "from opentelemetry.sdk._logs import LoggerProvider",
            "from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor",
            "from opentelemetry.sdk.metrics import MeterProvider",
            "from opentelemetry.sdk.metrics.export import InMemoryMetricReader",
            "from opentelemetry.sdk.trace import TracerProvider",
            "from opentelemetry.sdk.trace.export import SimpleSpanProcessor",
            "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter",
            "spans, logs, reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()",
            "mine = TracerProvider(), MeterProvider([reader]), LoggerProvider()",
            "mine[0].add_span_processor(SimpleSpanProcessor(spans))",
            "mine[2].add_log_record_processor(SimpleLogRecordProcessor(logs))",
            "trace.set_tracer_provider(mine[0])",
            "metrics.set_meter_provider(mine[1])",
            "_logs.set_logger_provider(mine[2])",
            "otel_llm.configure(sinks=['sqlite'])",
            "call()",
            "now = trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()",
            "print(all(a is b for a, b in zip(mine, now)), len(spans.get_finished_spans()))",
            "print(len(logs.get_finished_logs()), reader.get_metrics_data() is not None)",
        )
        assert (said, application.rows()) == (f"{ANSWER}True 1\n1 True\n", [ROW])

    @pytest.mark.slow
    def test_over_otlp(self, application):
        """
        Asked for OTLP, spans, metrics and the record go to the collector, and the record to the sink.
        """
        unset = dict.fromkeys(["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"])
        with Collector() as collector:
            settings = unset | collector.variables
            run(application, "otel_llm.configure(sinks=['sqlite'], otlp=True)", "call()", **settings)
        assert (collector.spans, collector.logs) == (
            ["chat gpt-4o-mini"],
            ["gen_ai.client.inference.operation.details"],
        )
        assert "gen_ai.client.token.usage" in collector.metrics
        assert application.rows() == [ROW]

    @pytest.mark.slow
    def test_without_otlp(self, application):
        """
        Not asked, nothing is exported, although exporters are installed and no variable says so.
        """
        unset = dict.fromkeys(["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"])
        with Collector() as collector:
            run(application, "otel_llm.configure(sinks=['sqlite'])", "call()", **unset | collector.variables)
        assert (collector.spans, collector.logs, application.rows()) == ([], [], [ROW])

    @pytest.mark.parametrize(("code", "settings"), [("enabled=False", {}), ("", {"OTEL_SDK_DISABLED": "true"})])
    def test_switched_off(self, code, settings, application):
        """
        Switched off in code or with OpenTelemetry, all functions of the face still work and nothing is left.
        """
        said = run(
            application,
            f"otel_llm.configure(sinks=['sqlite'], {code})",
            "call()",
            "print(otel_llm.stats(), otel_llm.flush(), otel_llm.shutdown())",
            "from opentelemetry import trace",
            "print(type(trace.get_tracer_provider()).__name__)",
            **settings,
        )
        assert (said, application.left) == (f"{ANSWER}{{}} True True\nProxyTracerProvider\n", set())


class TestRunning:
    @pytest.mark.slow
    def test_sums(self, application):
        """
        What was produced is sent, filtered, pending or accounted for, for every sink at any time.
        """
        said = run(
            application,
            "picky = {'type': 'sqlite', 'where': {'model': 'x'}}",
            "otel_llm.configure(sinks={'all': {'type': 'sqlite'}, 'none': picky})",
            "def balanced():",
            "    for each in otel_llm.stats().values():",
            "        dropped = sum(each.events_dropped.values())",
            "        ended = each.events_sent + each.filtered + dropped + each.dead",
            "        yield each.events_produced + each.adopted == ended + each.pending_events + each.events_in_flight",
            "call(), call()",
            "print(all(balanced()))",
            "otel_llm.flush(10)",
            "told = otel_llm.stats()",
            "print(all(balanced()), told['all'].events_sent, told['none'].filtered)",
        )
        assert said == f"{ANSWER * 2}True\nTrue 2 2\n"

    def test_labels(self, application):
        """
        Labels given around a call are in its row.
        """
        run(
            application,
            "otel_llm.configure(sinks=['sqlite'])",
            "with otel_llm.labels(tenant_id='t1', user_id='u1'):",
            "    call()",
            "call()",
        )
        assert application.rows(columns="user_id, labels") == [("u1", '{"tenant_id":"t1"}'), (None, None)]

    @pytest.mark.slow
    def test_first_call_is_forgotten(self, application):
        """
        The call in which delivery was started is not kept by what was started.
        """
        said = run(
            application,
            "import gc",
            "from otel_llm.capture.operation import Operation",
            "otel_llm.configure(sinks=['sqlite'])",
            "call(), otel_llm.flush(10), gc.collect()",
            "print(sum(isinstance(each, Operation) for each in gc.get_objects()))",
        )
        assert said == f"{ANSWER}0\n"

    @pytest.mark.slow
    def test_uninstrument(self, application):
        """
        Between `uninstrument` and `instrument` nothing is captured, also with clients that were made before.
        """
        said = run(
            application,
            "otel_llm.configure(sinks=['sqlite'])",
            "call(), otel_llm.uninstrument(), call(), otel_llm.instrument(), call()",
        )
        assert (said, application.rows()) == (ANSWER * 3, [ROW] * 2)

    @pytest.mark.slow
    def test_shutdown(self, application):
        """
        After `shutdown` nothing is captured; switched on again, it is.
        """
        said = run(
            application,
            "otel_llm.configure(sinks=['sqlite'])",
            "call(), print(otel_llm.shutdown()), call()",
            "otel_llm.configure(sinks=['sqlite'])",
            "call()",
        )
        assert (said, application.rows()) == (f"{ANSWER}True\n{ANSWER * 2}", [ROW] * 2)

    @pytest.mark.slow
    def test_under_the_launcher(self, application):
        """
        An application that switches itself on is recorded once, also when its operator did so, too.
        """
        source = BEGIN + "otel_llm.configure(sinks=['sqlite'])\ncall()\n"
        done = application.run(source, OTEL_LLM_SINKS="sqlite", OTEL_LOGS_EXPORTER="llm_sqlite")
        assert (done.stdout, done.stderr, application.rows()) == (ANSWER, "", [ROW])


class TestMistakes:
    def test_reported_not_raised(self, application):
        """
        Mistakes in code are one line each, nothing is raised, and the sinks that are right have the record.
        """
        source = (
            BEGIN
            + "otel_llm.configure(sinks=['sqlite', 'stdot'], durabilty='power', batch_size='many')\n"
            + "otel_llm.instrument()\ncall()\n"
        )
        done = application.run(source, launcher=None)
        assert (done.returncode, done.stdout, application.rows()) == (0, ANSWER, [ROW])
        told = sorted(line.partition(": ")[2] for line in done.stderr.splitlines())
        assert [line.partition(": found")[0] for line in told] == ["code: batch_size", "code: durabilty", "code: sinks"]
        assert "(did you mean 'durability'?)" in told[1]

    @pytest.mark.slow
    def test_code_wins(self, application):
        """
        What code says wins over the environment.
        """
        run(
            application,
            "otel_llm.configure(sinks={'sqlite': {'path': 'code.db'}})",
            "call()",
            OTEL_LLM_SINKS="stdout",
            OTEL_LLM_SQLITE_PATH="environment.db",
        )
        assert (application.rows("code.db"), application.rows("environment.db")) == ([ROW], [])

    @pytest.mark.slow
    def test_exporter_that_is_missing(self, application):
        """
        An exporter that OpenTelemetry does not find is said in one line, and the record is in the sink.
        """
        source = BEGIN + "otel_llm.configure(sinks=['sqlite'])\ncall()\n"
        done = application.run(source, launcher=None, OTEL_TRACES_EXPORTER="paper")
        assert (done.stdout, done.stderr.count("\n"), application.rows()) == (ANSWER, 1, [ROW])

    @pytest.mark.slow
    def test_flush_that_cannot_deliver(self, application):
        """
        `flush` tells when a sink has not got everything in time; the record waits in the journal.
        """
        (application.folder / "folder.db").mkdir()
        source = (
            BEGIN
            + "otel_llm.configure(sinks={'sqlite': {'path': 'folder.db'}}, exit_timeout_ms=100)\n"
            + "call(), print(otel_llm.flush(0.2), otel_llm.stats()['sqlite'].pending_events)\n"
        )
        done = application.run(source, launcher=None)
        assert (done.returncode, done.stdout) == (0, f"{ANSWER}False 1\n")
        assert list(application.journal.glob("*/*/*.segment"))
