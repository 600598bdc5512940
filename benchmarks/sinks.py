"""
What delivery costs per record: into the journal, and on to a sink until that has acknowledged it.

    python benchmarks/sinks.py [--quick] [--only postgres kafka …]

Beside it, what the same costs without us: rows that lie ready, written by the client alone, and OpenTelemetry's own
batch processor with its OTLP exporter. What is compared takes turns, round by round, for a shared machine is at times
twice as slow as at others; a ratio is the median of the rounds' ratios.
"""

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import null_sink
from calibration import timed
from opentelemetry import _logs
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from peers import Peer
from scenarios import chat
from servers import receiver, started
from services import SERVICES, Client, Service
from table import machine, number, render

import otel_llm
from otel_llm.delivery import setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.formats import find
from otel_llm.settings import load
from otel_llm.telemetry.event import Event, new_event_id
from otel_llm.telemetry.log_record import event_of
from otel_llm.usage.schema import SQLITE_INSERT, SQLITE_SCHEMA, row

BATCH = 500
BATCH_BYTES = 4 * 1024 * 1024
"""Enough that batches are as large as those of the bare clients."""
FILES = "files"
OTLP = "SDK + OTLP/HTTP"
NARROW = 14
"""Columns of the plainest table that would do."""

Records = list[Event]


class Figure(NamedTuple):
    """
    What a record took in one round, or in the median of several.
    """

    inline: float
    """CPU microseconds on the thread that has the record."""
    total: float
    """CPU microseconds on all threads."""
    per_second: float


Round = Callable[[], Figure]


@dataclass
class Row:
    """
    One line of a table: who is measured, and the name of the bare client it is compared with.
    """

    contender: AbstractContextManager[Round]
    bare: str | None = None
    rounds: list[Figure] = field(default_factory=list)

    @property
    def figure(self) -> Figure:
        """The medians."""
        return Figure(*(statistics.median(column) for column in zip(*self.rounds, strict=True)))

    def times(self, other: "Row") -> str:
        """
        Give how often the CPU time of the other one this one takes.
        """
        return self._ratio(other, lambda mine, theirs: mine.total / theirs.total)

    def waits(self, other: "Row") -> str:
        """
        Give how often the time of the other one passes until all is acknowledged.
        """
        return self._ratio(other, lambda mine, theirs: theirs.per_second / mine.per_second)

    def _ratio(self, other: "Row", ratio: Callable[[Figure, Figure], float]) -> str:
        return number(statistics.median(map(ratio, self.rounds, other.rounds)))


Rows = dict[str, Row]


class Sample:
    """
    A real call's record, as the SDK holds it and as we do.
    """

    def __init__(self) -> None:
        keeper = _Keeper()
        provider = LoggerProvider()
        provider.add_log_record_processor(keeper)
        _logs.set_logger_provider(provider)
        otel_llm.configure()
        chat(Peer().clients())(1)
        otel_llm.shutdown()
        self.record = keeper.records[0]
        self._event = event_of(self.record)

    def events(self, count: int) -> Records:
        """
        Give so many different events.
        """
        return [self._with_id(new_event_id()) for _ in range(count)]

    def _with_id(self, event_id: str) -> Event:
        attributes = {**self._event.attributes, "otel_llm.event.id": event_id}
        return msgspec.structs.replace(self._event, id=event_id, attributes=attributes)


class _Keeper(LogRecordProcessor):
    def __init__(self) -> None:
        self.records: list[ReadWriteLogRecord] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.records.append(log_record)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True


class Bench:
    """
    So many rounds of so many records.
    """

    def __init__(self, folder: Path, *, records: int, rounds: int) -> None:
        self._folder = folder
        self._count = records
        self._rounds = rounds
        self._sample = Sample()

    def measure(self, rows: Rows) -> Rows:
        """
        Let all of them take turns.
        """
        with ExitStack() as stack:
            makes = {name: stack.enter_context(row.contender) for name, row in rows.items()}
            for _ in range(self._rounds):
                for name in dice.sample(list(rows), len(rows)):
                    rows[name].rounds.append(makes[name]())
        return rows

    @contextmanager
    def journal(self, durability: str) -> Iterator[Round]:
        """
        Keep records, with a courier that is not due yet.
        """
        count = self._count if durability != "always" else 200
        patient = {"batch_size": 1_000_000, "flush_interval_ms": 3_600_000, "buffer_size": 1_000_000}
        with self._delivery({"null": {}}, durability=durability, **patient) as delivery:
            yield self._round(lambda events: _append(delivery, events), count)

    @contextmanager
    def sink(self, name: str, options: Mapping[str, Any], *, wave: int | None = None) -> Iterator[Round]:
        """
        Bring records through the journal to a sink, until it has acknowledged the last: at once, or wave by wave.
        """
        limits = {"batch_size": BATCH, "batch_bytes": BATCH_BYTES}
        with self._delivery({name: {**limits, **options}}) as delivery:

            def deliver(events: Records) -> None:
                for each in _batches(events, wave or len(events)):
                    _append(delivery, each)
                    if not delivery.flush(60):
                        raise SystemExit(f"{name} does not take the records: {delivery.stats()}")

            yield self._round(deliver)

    @contextmanager
    def silent_sink(self) -> Iterator[Round]:
        """
        Bring records to the sink `stdout`, where nobody reads.
        """
        with _silence(), self.sink("stdout", {}) as make:
            yield make

    @contextmanager
    def bare_sqlite(self, *, columns: int | None = None) -> Iterator[Round]:
        """
        Write rows that lie ready, a transaction for each batch: into our table, or into a plain one.
        """
        connection = sqlite3.connect(self._folder / f"bare{columns or ''}.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        schema, insert = (SQLITE_SCHEMA, SQLITE_INSERT) if columns is None else _plain_table(columns)
        for statement in schema:
            connection.execute(statement)

        def write(rows: list[tuple[object, ...]]) -> None:
            for batch in _batches(rows):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(insert, batch)
                connection.execute("COMMIT")

        yield self._round(write, made=lambda events: [_row(event)[:columns] for event in events])

    @contextmanager
    def bare_file(self) -> Iterator[Round]:
        """
        Append lines that lie ready, in batches.
        """
        encode = find("usage").encode
        path = self._folder / "bare.jsonl"

        def write(lines: list[bytes]) -> None:
            for batch in _batches(lines):
                with path.open("ab") as file:
                    file.write(b"\n".join([*batch, b""]))

        yield self._round(write, made=lambda events: [encode(event) for event in events])

    @contextmanager
    def bare(self, make: Callable[[], Client]) -> Iterator[Round]:
        """
        Send with a client alone what lies ready for it, in batches.
        """
        client = make()

        def send(items: list[Any]) -> None:
            for batch in _batches(items):
                client.send(batch)

        try:
            yield self._round(send, made=lambda events: [client.ready(event) for event in events])
        finally:
            client.close()

    @contextmanager
    def otlp(self) -> Iterator[Round]:
        """
        Send records with the SDK's batch processor and OTLP over HTTP.
        """
        with receiver() as port:
            exporter = OTLPLogExporter(endpoint=f"http://127.0.0.1:{port}/v1/logs")
            processor = BatchLogRecordProcessor(
                exporter, max_queue_size=2 * self._count, max_export_batch_size=BATCH, schedule_delay_millis=100
            )

            def send(events: Records) -> None:
                for _ in events:
                    processor.on_emit(self._sample.record)
                processor.force_flush()

            yield self._round(send)
            processor.shutdown()

    @contextmanager
    def _delivery(self, sinks: dict[str, Mapping[str, Any]], **settings: Any) -> Iterator[Delivery]:
        folder = tempfile.mkdtemp(dir=self._folder)
        delivery = setup.delivery(load({"sinks": sinks, "journal_dir": folder, **settings}))
        if delivery is None:
            raise SystemExit(f"the sinks {sorted(sinks)} are not to be had")
        try:
            yield delivery
        finally:
            delivery.shutdown(0)

    def _round(
        self,
        run: Callable[[Any], None],
        count: int | None = None,
        made: Callable[[Records], Any] = lambda events: events,
    ) -> Round:
        count = count or self._count
        run(made(self._sample.events(BATCH)))
        return lambda: _timed(run, made(self._sample.events(count)), count)


dice = Random(1)


def _timed(run: Callable[[Any], None], records: Any, count: int) -> Figure:
    started = time.perf_counter()
    timing = timed(lambda _: run(records), count)
    return Figure(timing.inline, timing.total, count / (time.perf_counter() - started))


def _batches(items: list[Any], size: int = BATCH) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _append(delivery: Delivery, events: Records) -> None:
    for event in events:
        delivery.append(event)


def _row(event: Event) -> tuple[object, ...]:
    return (*row(event), find("otel").encode(event).decode())


def _plain_table(columns: int) -> tuple[list[str], str]:
    names = ", ".join(f"c{number}" for number in range(columns))
    return [f"CREATE TABLE calls ({names})"], f"INSERT INTO calls VALUES ({', '.join('?' * columns)})"


def _journal_table(bench: Bench) -> str:
    rows = []
    for durability in ("memory", "process", "power", "always"):
        figure = bench.measure({durability: Row(bench.journal(durability))})[durability].figure
        rows.append([durability, number(figure.inline), number(1e6 / figure.per_second)])
    return render(("journal, durability", "CPU µs", "wall µs"), rows)


def _files(bench: Bench, folder: Path) -> Rows:
    ours, plain, lines = (
        "bare executemany, our table",
        "bare executemany, 14 plain columns",
        "bare append of JSON lines",
    )
    return {
        "sqlite": Row(bench.sink("sqlite", {"path": str(folder / "calls.db")}), ours),
        "sqlite, 500 at a time": Row(bench.sink("sqlite", {"path": str(folder / "waves.db")}, wave=BATCH), ours),
        "jsonl": Row(bench.sink("jsonl", {"path": str(folder / "stores")}), lines),
        "jsonl, 500 at a time": Row(bench.sink("jsonl", {"path": str(folder / "waves")}, wave=BATCH), lines),
        "stdout to /dev/null": Row(bench.silent_sink()),
        "a sink that does nothing": Row(bench.sink("null", {})),
        "a sink that does nothing, 500 at a time": Row(bench.sink("null", {}, wave=BATCH)),
        ours: Row(bench.bare_sqlite()),
        plain: Row(bench.bare_sqlite(columns=NARROW)),
        lines: Row(bench.bare_file()),
    }


def _service(bench: Bench, service: Service, server: Any) -> Rows:
    ours = {name: Row(bench.sink(sink, options), bare) for name, (sink, options, bare) in service.sinks(server).items()}
    return ours | {name: Row(bench.bare(make)) for name, make in service.clients(server).items()}


def _sink_tables(bench: Bench, folder: Path, only: list[str]) -> Iterator[str]:
    if not only or FILES in only:
        yield _table(bench, _files(bench, folder))
    for service in SERVICES:
        if not only or service.SERVER in only:
            with started(service.SERVER) as server:
                if server is not None:
                    yield _table(bench, _service(bench, service, server))


def _table(bench: Bench, rows: Rows) -> str:
    measured = bench.measure(rows | {OTLP: Row(bench.otlp())})
    return render(
        ("per record", "inline µs", "CPU µs", "x bare", f"x {OTLP}", "wall µs", "x bare"),
        [_line(name, row, measured) for name, row in measured.items()],
    )


def _line(name: str, row: Row, rows: Rows) -> list[str]:
    figure = row.figure
    bare = rows[row.bare] if row.bare else None
    return [
        name,
        number(figure.inline),
        number(figure.total),
        row.times(bare) if bare else "-",
        rows[OTLP].times(row),
        number(1e6 / figure.per_second),
        row.waits(bare) if bare else "-",
    ]


@contextmanager
def _silence() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description="What delivery costs per record.")
    parser.add_argument("--quick", action="store_true", help="few records, few rounds")
    groups = [FILES, *(service.SERVER for service in SERVICES)]
    parser.add_argument("--only", nargs="+", default=[], choices=groups, help="only what writes to these")
    arguments = parser.parse_args()
    quick, only = arguments.quick, arguments.only
    with tempfile.TemporaryDirectory(prefix="otel-llm-benchmark-") as name:
        folder = Path(name)
        null_sink.offer(folder)
        bench = Bench(folder, records=1000 if quick else 5000, rounds=3 if quick else 7)
        print(machine())
        if not only:
            print(f"\n{_journal_table(bench)}")
        for table in _sink_tables(bench, folder, only):
            print(f"\n{table}", flush=True)
    sys.stdout.flush()
    os._exit(0)  # nothing is to be delivered any more


if __name__ == "__main__":
    main()
