"""The counts as metrics, collected by the SDK's own reader."""

import json

import pytest
from opentelemetry import _logs
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv._incubating.metrics import otel_metrics as conventions

import otel_llm
from otel_llm.delivery import exporter, self_metrics, shared
from otel_llm.delivery.self_metrics import METRICS, Limits
from otel_llm.delivery.sink import DELIVERED, Receipt, Rejected
from otel_llm.delivery.stats import SinkStats
from otel_llm.telemetry.event import EVENT_NAME

BUSY = SinkStats(
    events_produced=100,
    adopted=11,
    events_sent=60,
    filtered=5,
    dead=4,
    events_dropped={"journal_full": 3, "buffer_full": 2, "torn": 1},
    events_in_flight=6,
    pending_events=30,
    retried=7,
    send_errors=2,
    batches_sent=9,
    batches_in_flight=1,
    last_flush_epoch=1_793_700_900_500,
    journal_bytes=4096,
    oldest_pending_seconds=2.5,
    state="retrying",
)


class Books:
    """
    Counts that a test sets, shown to a reader that it holds.
    """

    def __init__(self):
        self.stats = {}
        self.looks = 0
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def look(self):
        self.looks += 1
        return self.stats

    def observe(self, limits=Limits()):  # noqa: B008 - it never changes
        self_metrics.observe(self.provider.get_meter("otel_llm"), self.look, limits)

    def metrics(self):
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def values(self):
        """
        Give each metric's values by their attributes.
        """
        return {
            name: {tuple(sorted(point.attributes.items())): point.value for point in metric.data.data_points}
            for name, metric in self.metrics().items()
        }


@pytest.fixture(autouse=True)
def _nothing_was_counted(monkeypatch):
    """
    Forget what other tests' deliveries counted.
    """
    monkeypatch.setattr(self_metrics, "_reading", self_metrics._Reading())


@pytest.fixture
def books():
    """
    Give counts and the reader that sees them.
    """
    made = Books()
    yield made
    made.provider.shutdown()


def standard(sink, **attributes):
    told = {name.replace("_", "."): value for name, value in attributes.items()}
    component = {"otel.component.type": "otel_llm_sink", "otel.component.name": f"otel_llm_sink/{sink}"}
    return tuple(sorted({**component, **told}.items()))


def ours(sink, **attributes):
    told = {f"otel_llm.{name.replace('_', '.')}": value for name, value in attributes.items()}
    return tuple(sorted({"otel_llm.sink.name": sink, **told}.items()))


class TestNames:
    def test_conventions(self, books):
        """Names, units, kinds and words of the SDK's own metrics are those of the conventions."""
        books.observe(Limits(records=10))
        books.stats = {"kafka": BUSY}
        seen = {name: metric for name, metric in books.metrics().items() if name.startswith("otel.")}
        assert len(seen) == 5
        for name, metric in seen.items():
            reference = Recorder()
            getattr(conventions, f"create_{name.replace('.', '_')}")(reference)
            monotonic = getattr(metric.data, "is_monotonic", None)
            assert (name, metric.unit, metric.description, monotonic) == reference.made

    def test_ours_are_prefixed_and_listed_once(self):
        """Every other metric has our prefix, and no name stands twice."""
        names = [metric.name for metric in METRICS]
        assert len(set(names)) == len(names)
        assert all(name.startswith(("otel.sdk.", "otel_llm.sink.")) for name in names)


class Recorder:
    """
    A meter that notes what is made with it.
    """

    def create_counter(self, name, description, unit):
        self.made = (name, unit, description, True)

    def create_up_down_counter(self, name, description, unit):
        self.made = (name, unit, description, False)


class TestValues:
    def test_exported(self, books):
        """What arrived has no error type; a dead letter counts as rejected."""
        books.observe()
        books.stats = {"kafka": BUSY}
        assert books.values()["otel.sdk.exporter.log.exported"] == {
            standard("kafka"): 60,
            standard("kafka", error_type="rejected"): 4,
        }

    def test_processed(self, books):
        """A record without room is `queue_full`, whatever was full; other losses keep their reason."""
        books.observe()
        books.stats = {"kafka": BUSY}
        assert books.values()["otel.sdk.processor.log.processed"] == {
            standard("kafka"): 69,
            standard("kafka", error_type="queue_full"): 5,
            standard("kafka", error_type="torn"): 1,
        }

    def test_dropped_keeps_every_reason(self, books):
        """Our own metric tells a full journal from a full memory."""
        books.observe()
        books.stats = {"kafka": BUSY}
        assert books.values()["otel_llm.sink.dropped"] == {
            ours("kafka", drop_reason="journal_full"): 3,
            ours("kafka", drop_reason="buffer_full"): 2,
            ours("kafka", drop_reason="torn"): 1,
        }

    def test_the_sum_holds_among_the_values(self, books):
        """Produced and adopted equal all that became of them."""
        books.observe()
        books.stats = {"kafka": BUSY}
        values = {name: sum(points.values()) for name, points in books.values().items()}
        settled = values["otel.sdk.processor.log.processed"]
        waiting = values["otel.sdk.processor.log.queue.size"] + values["otel.sdk.exporter.log.inflight"]
        assert BUSY.unaccounted == 0
        assert values["otel_llm.sink.produced"] + values["otel_llm.sink.adopted"] == settled + waiting

    def test_each_sink_has_its_own(self, books):
        """Several sinks are told apart by their name; one that has sent nothing has no time of success."""
        books.observe()
        books.stats = {"kafka": BUSY, "sqlite": SinkStats(events_produced=1, pending_events=1)}
        values = books.values()
        assert values["otel_llm.sink.produced"] == {ours("kafka"): 100, ours("sqlite"): 1}
        assert values["otel_llm.sink.last_success"] == {ours("kafka"): 1_793_700_900.5}

    def test_state(self, books):
        """The state that a sink is in is 1, all others are 0."""
        books.observe()
        books.stats = {"kafka": BUSY}
        values = books.values()["otel_llm.sink.state"]
        assert [key for key, value in values.items() if value] == [ours("kafka", sink_state="retrying")]
        assert len(values) == 5

    def test_journal(self, books):
        """The journal is shared, so its size and its limit are told once; it holds bytes, not records."""
        books.observe(Limits(bytes=1000))
        books.stats = {"kafka": BUSY, "sqlite": BUSY}
        values = books.values()
        assert (values["otel_llm.journal.size"], values["otel_llm.journal.limit"]) == ({(): 4096}, {(): 1000})
        assert "otel.sdk.processor.log.queue.capacity" not in values

    def test_memory_has_a_capacity(self, books):
        """Where memory is the journal, the queue's capacity is a number of records."""
        books.observe(Limits(records=10_000))
        books.stats = {"kafka": BUSY}
        values = books.values()
        assert values["otel.sdk.processor.log.queue.capacity"] == {standard("kafka"): 10_000}
        assert "otel_llm.journal.limit" not in values


class TestCollection:
    def test_nobody_collects(self, books):
        """Until somebody collects, nobody looks at the books."""
        books.observe()
        books.stats = {"kafka": BUSY}
        assert books.looks == 0

    def test_one_look_serves_a_collection(self, books):
        """All values of one collection come from one look, and the next collection looks anew."""
        books.observe()
        books.stats = {"kafka": BUSY}
        books.values()
        assert books.looks == 1
        books.stats = {"kafka": SinkStats(events_produced=200, pending_events=200)}
        assert books.values()["otel_llm.sink.produced"] == {ours("kafka"): 200}

    def test_the_latest_books_count(self, books):
        """Who observes last is shown, though the SDK keeps the first callbacks; what was counted before, counts."""
        books.observe()
        books.stats = {"kafka": BUSY}
        other = Books()
        other.stats = {"kafka": SinkStats(events_produced=7, pending_events=7), "sqlite": BUSY}
        self_metrics.observe(books.provider.get_meter("otel_llm"), other.look, Limits())
        values = books.values()
        assert values["otel_llm.sink.produced"] == {ours("kafka"): 107, ours("sqlite"): 100}
        assert values["otel.sdk.processor.log.queue.size"][standard("kafka")] == 7
        other.provider.shutdown()


class TestRoad:
    def test_metrics_of_a_real_delivery(self, books, deliver, spec, scripted, make_event):
        """What a courier did is what the reader sees."""
        sink = scripted(Receipt([DELIVERED, Rejected("no"), DELIVERED]))
        delivery = deliver(spec(sink, name="kafka"), flush_interval_ms=60_000)
        for number in range(3):
            delivery.append(make_event(number))
        assert delivery.flush(10)
        self_metrics.observe(books.provider.get_meter("otel_llm"), delivery.stats, Limits())
        assert books.values()["otel.sdk.exporter.log.exported"] == {
            standard("kafka"): 2,
            standard("kafka", error_type="rejected"): 1,
        }

    def test_no_metric_travels_through_a_sink(self, telemetry, install, tmp_path):
        """The pipeline shows its sinks' counts to OpenTelemetry, and a sink gets the calls' records alone."""
        install(
            "acme_sink", "from otel_llm.testing import RecordingSink", otel_llm_sink="rec = acme_sink:RecordingSink"
        )
        told = tmp_path / "told.jsonl"
        otel_llm.configure({"rec": {"path": str(told)}}, journal_dir=tmp_path / "journal", flush_interval_ms=20)
        emit_call_record()
        assert otel_llm.flush(5)
        points = telemetry.points()
        assert points["otel.sdk.exporter.log.exported"][0].value == 1
        telemetry.points()
        assert otel_llm.flush(5)
        (record,) = map(json.loads, told.read_text().splitlines())
        assert (record["event_name"], otel_llm.stats()["rec"].events_produced) == (EVENT_NAME, 1)

    def test_exporters_without_a_pipeline(self, telemetry, install, tmp_path, monkeypatch):
        """A sink that is only OpenTelemetry's exporter, in a process that nobody instruments, is counted, too."""
        install(
            "acme_sink", "from otel_llm.testing import RecordingSink", otel_llm_sink="rec = acme_sink:RecordingSink"
        )
        otel_llm.shutdown()
        monkeypatch.setenv("OTEL_LLM_JOURNAL_DIR", str(tmp_path / "journal"))
        monkeypatch.setattr(shared, "_exporters", {})
        rec = exporter.rec()
        rec.export([call_record()])
        assert rec.force_flush(5000)
        assert telemetry.points()["otel.sdk.exporter.log.exported"][0].value == 1


def call_record():
    record = LogRecord(event_name=EVENT_NAME, attributes={"gen_ai.operation.name": "chat"})
    return ReadWriteLogRecord(record, Resource({}), InstrumentationScope("someone.genai"))


def emit_call_record():
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
    _logs.get_logger("someone.genai").emit(LogRecord(event_name=EVENT_NAME, attributes=attributes))
