"""
What each tier beyond the process costs per record: Kafka, a Collector that reads from it, ClickHouse, PostgreSQL.

    python benchmarks/tiers.py [--quick]

Records are those of a real call in the format `otlp_proto`. The CPU time of broker, Collector and PostgreSQL is what
the system counted for their processes while so many records went through; ClickHouse runs in a process of its own,
embedded.
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cramjam
import zstandard
from confluent_kafka import Consumer, Producer, TopicPartition
from otel_llm_exporters.postgres import PostgresOptions, PostgresSink
from sinks import Sample
from table import machine, render

from otel_llm.delivery.sink import Batch, Delivered, Record
from otel_llm.formats import find
from otel_llm.settings.secret import Secret
from otel_llm.telemetry.event import Event

ROOT = Path(__file__).parents[1]
TOPIC = "calls"
_GROUP = "benchmark"
_PARTITIONS = 3
_FLUSH = 3
_KAFKA_YAML = ROOT / "collector-config" / "kafka.yaml"
BATCH = 500
INSERT = 20_000
_TICK = os.sysconf("SC_CLK_TCK")
_SPAN = 2 * 3600 * 10**9


class Tier(NamedTuple):
    """
    What one tier took.
    """

    cpu: float
    """Microseconds per record."""
    per_second: float
    disk: float | None = None
    """Bytes per record on disk, after a merge where there are such things."""


def varied(events: list[Event]) -> list[Event]:
    """
    Give events whose times, ids, counts and tenants differ, as those of real traffic do.
    """
    started = time.time_ns() - _SPAN
    return [_varied(event, number, started + number * _SPAN // len(events)) for number, event in enumerate(events)]


def _varied(event: Event, number: int, ended: int) -> Event:
    told = {
        "gen_ai.usage.input_tokens": 100 + number * 7919 % 4000,
        "gen_ai.usage.output_tokens": 10 + number * 104_729 % 900,
        "gen_ai.usage.cost": (number * 15_485_863 % 100_000) / 1e7,
        "gen_ai.response.id": f"chatcmpl-{event.id}",
        "otel_llm.duration": 0.2 + number * 32_452_843 % 5_000_000 / 1e6,
        "otel_llm.label.tenant_id": f"t{number * 7 % 1000}",
    }
    changed = event.with_attributes({**event.attributes, **told})
    return type(event)(
        event.id, event.name, ended, ended, event.severity_number, event.severity_text, changed.attributes,
        os.urandom(16).hex(), os.urandom(8).hex(), 1, None, event.resource, event.scope,
    )  # fmt: skip


def sizes(messages: list[bytes]) -> list[tuple[str, float]]:
    """
    Give bytes per record as it is, and in compressed batches.
    """
    batches = [b"".join(messages[start : start + BATCH]) for start in range(0, len(messages), BATCH)]
    compress = {
        "otlp_proto": lambda data: data,
        "… lz4, in batches of 500": lambda data: bytes(cramjam.lz4.compress(data)),
        "… zstd, in batches of 500": zstandard.compress,
    }
    return [(name, sum(len(call(batch)) for batch in batches) / len(messages)) for name, call in compress.items()]


def kafka_and_collector(messages: list[bytes]) -> dict[str, Tier]:
    """
    Bring messages into Kafka, then let a Collector read them and send them on.
    """
    from tests.servers import collector, kafka

    with stopped(kafka.start()) as broker:
        broker.create(TOPIC, partitions=_PARTITIONS)
        into = _produced(broker, messages)
        before = cpu(broker.pid)
        with receiver() as port:
            told = {"KAFKA_BROKERS": broker.endpoint, "KAFKA_TOPIC": TOPIC, "KAFKA_GROUP": _GROUP}
            backend = {"BACKEND_ENDPOINT": f"http://127.0.0.1:{port}"}
            with stopped(collector.start(_KAFKA_YAML, **told, **backend)) as reader:
                out = _read(reader, broker, len(messages) + BATCH)
        serving = (cpu(broker.pid) - before) * 1e6 / len(messages)
    return {
        "Kafka's broker, taking records": into,
        "Kafka's broker, giving them to one reader": Tier(serving, out.per_second),
        "Collector (kafka.yaml), from Kafka over a queue on disk to OTLP": out,
    }


def clickhouse(events: list[Event]) -> Tier:
    """
    Insert rows as the Collector does, with the view that fills `llm_calls`; disk is that of both tables.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_clickhouse, (events,))


def postgres(events: list[Event]) -> Tier:
    """
    Insert rows by the sink, a batch after the other into a partition a day; disk is that of table and indexes.
    """
    from tests.servers import postgres

    batches = [_batch(events[start : start + BATCH]) for start in range(0, len(events), BATCH)]
    with stopped(postgres.start(fsync="on", full_page_writes="on")) as server:
        used, seconds = asyncio.run(_written(server, batches))
        ((disk,),) = server.rows(
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('llm_calls') WHERE isleaf"
        )
    return Tier(used * 1e6 / len(events), len(events) / seconds, float(disk) / len(events))


def _batch(events: list[Event]) -> Batch:
    return Batch([Record(event, find("otel").encode(event)) for event in events])


async def _written(server: Any, batches: list[Batch]) -> tuple[float, float]:
    """
    Write all batches; gives the server's CPU seconds, and how long it took.
    """
    sink = PostgresSink(PostgresOptions(dsn=Secret(server.dsn), partition="day"))
    await sink.open()
    began, before = time.perf_counter(), _with_children(server.pid)
    for batch in batches:
        receipt = await sink.send(batch)
        if not all(isinstance(outcome, Delivered) for outcome in receipt.of(batch)):
            raise SystemExit("postgres does not take the records")
    measured = _with_children(server.pid) - before, time.perf_counter() - began
    await sink.close()
    return measured


def _with_children(pid: int) -> float:
    """
    Give the CPU seconds that a process and its children, the ended ones too, have used.
    """
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
    return sum(map(cpu, (pid, *map(int, children)))) + sum(map(int, ended)) / _TICK


def _produced(broker: Any, messages: list[bytes]) -> Tier:
    sender = Producer({"bootstrap.servers": broker.endpoint, "enable.idempotence": True, "log_level": 0})
    _send(sender, [messages[0]] * BATCH)
    began, before = time.perf_counter(), cpu(broker.pid)
    for start in range(0, len(messages), BATCH):
        _send(sender, messages[start : start + BATCH])
    seconds, used = time.perf_counter() - began, cpu(broker.pid) - before
    disk = sum(file.stat().st_size for file in (broker.folder / "data").rglob(f"{TOPIC}-*/*.log"))
    return Tier(used * 1e6 / len(messages), len(messages) / seconds, disk / (len(messages) + BATCH))


def _send(sender: Producer, messages: list[bytes]) -> None:
    for message in messages:
        sender.produce(TOPIC, message, os.urandom(16).hex())
    if sender.flush(60):
        raise SystemExit("kafka does not take the messages")


def _read(reader: Any, broker: Any, count: int) -> Tier:
    began = time.perf_counter()
    group = Consumer({"bootstrap.servers": broker.endpoint, "group.id": _GROUP, "log_level": 0})
    partitions = [TopicPartition(TOPIC, number) for number in range(_PARTITIONS)]
    while sum(max(each.offset, 0) for each in group.committed(partitions, 30)) < count:
        time.sleep(0.05)
    read = time.perf_counter()
    group.close()
    time.sleep(_FLUSH)
    return Tier(cpu(reader.pid) * 1e6 / count, count / (read - began))


def _clickhouse(events: list[Event]) -> Tier:
    from chdb.session import Session

    from tests.clickhouse.conftest import ClickHouse, rows

    with tempfile.TemporaryDirectory() as folder:
        session = Session(folder)
        server = ClickHouse(session)
        inserts = [rows(events[start : start + INSERT]) for start in range(0, len(events), INSERT)]
        server.insert_rows(inserts[0])
        began, before = time.perf_counter(), _own_cpu()
        for insert in inserts:
            server.insert_rows(insert)
        seconds, used = time.perf_counter() - began, _own_cpu() - before
        server.run("OPTIMIZE TABLE otel.otel_logs FINAL")
        server.run("OPTIMIZE TABLE otel.llm_calls FINAL")
        kept = server.rows(
            "SELECT table, sum(bytes_on_disk) / sum(rows) AS bytes FROM system.parts"
            " WHERE active AND database = 'otel' AND table IN ('otel_logs', 'llm_calls') GROUP BY table"
        )
        session.close()
    return Tier(used * 1e6 / len(events), len(events) / seconds, sum(row["bytes"] for row in kept))


@contextmanager
def receiver() -> Iterator[int]:
    """
    Run a receiver that takes everything; gives its port.
    """
    script = str(Path(__file__).with_name("receiver.py"))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def stopped(server: Any) -> Iterator[Any]:
    """
    Stop a server in the end.
    """
    try:
        yield server
    finally:
        server.stop()


def cpu(pid: int) -> float:
    """
    Give the CPU seconds that a process has used.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description="What each tier costs per record.")
    parser.add_argument("--quick", action="store_true", help="few records")
    count = 10_000 if parser.parse_args().quick else 100_000
    sys.path.append(str(ROOT))
    events = varied(Sample().events(count))
    messages = [find("otlp_proto").encode(event) for event in events]
    measured = kafka_and_collector(messages) | {
        "ClickHouse, otel_logs and llm_calls": clickhouse(events),
        "PostgreSQL, llm_calls in partitions, one writer": postgres(events),
    }
    rows = [
        [name, f"{tier.cpu:.1f}", f"{tier.per_second:,.0f}", "-" if tier.disk is None else f"{tier.disk:,.0f}"]
        for name, tier in measured.items()
    ]
    print(f"{machine()}\n")
    kept = ("in the journal", sum(len(event.encode()) for event in events) / count)
    print(render(("a record", "bytes"), [[name, f"{size:,.0f}"] for name, size in (kept, *sizes(messages))]))
    print()
    print(render((f"per record, of {count:,}", "CPU µs", "records/s", "bytes on disk"), rows))


if __name__ == "__main__":
    main()
