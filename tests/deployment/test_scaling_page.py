"""
The page on scaling: its costs are those measured, its sizes follow from them, and what it tells to run is taken.
"""

import math
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.servers import collector
from tests.servers.kit.missing import Missing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text()
DAY = 86_400


def section(page, title):
    """
    Give what stands under a heading.
    """
    return re.search(rf"## {title}\n(.*?)(?=\n## |\Z)", page, re.DOTALL)[1]


def table(text):
    """
    Give the rows of all tables of a text, by their first cell; numbers as numbers.
    """
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|"))
    return {name: [_number(cell) for cell in rest] for name, *rest in rows if name.strip(":-")}


def _number(cell):
    return float(cell.replace(",", "")) if re.fullmatch(r"[\d,.]+", cell) else cell


RESULTS = section((ROOT / "benchmarks" / "RESULTS.md").read_text(), "Beyond one machine")
MEASURED = table(RESULTS)
COSTS = {name: costs for name, costs in table(section(PAGE, "What a record costs")).items() if name != "per record"}
SIZES = table(section(PAGE, "Sizes"))
PROCESS, _, TAKING, GIVING, READING, STORING, ROWS = COSTS.values()
CORES = 2 / 1e6
"""For each µs a record, with half of a processor left free."""

EXPECTED = {
    "cores of the applications, all together": lambda rate: rate * PROCESS[0] / 1e6,
    "network into Kafka, MB/s": lambda rate: rate * TAKING[2] / 1e6,
    "Kafka, cores": lambda rate: rate * (3 * TAKING[0] + GIVING[0]) * CORES,
    "Kafka, TB a day on 3 replicas": lambda rate: rate * DAY * TAKING[2] * 3 / 1e12,
    "Kafka, partitions": lambda rate: 2 * math.ceil(2 * rate / READING[1]),
    "Collectors": lambda rate: math.ceil(2 * rate / READING[1]),
    "ClickHouse, cores for inserting": lambda rate: rate * STORING[0] * CORES,
    "ClickHouse, GB a day, one replica": lambda rate: rate * DAY * STORING[2] / 1e9,
    "PostgreSQL, cores for inserting": lambda rate: rate * ROWS[0] * CORES,
    "PostgreSQL, GB a day, one replica": lambda rate: rate * DAY * ROWS[2] / 1e9,
}


def sink(pattern):
    """
    Give what a sentence of the results says of a sink, and what a record takes in the journal.
    """
    return [*map(_number, re.search(pattern, RESULTS).groups()), *MEASURED["in the journal"]]


SOURCES = {
    "process: journal and kafka sink (lz4)": sink(r"lz4\) ([\d.]+) µs and ([\d,]+)\s+records/s with confluent-kafka"),
    "process: journal and postgres sink": sink(r"journal and postgres\s+sink ([\d.]+) µs and ([\d,]+)\."),
    "Kafka's broker, taking it": MEASURED["Kafka's broker, taking records"],
    "Kafka's broker, giving it to one group": MEASURED["Kafka's broker, giving them to one reader"],
    "Collector: Kafka, queue on disk, OTLP": MEASURED[
        "Collector (kafka.yaml), from Kafka over a queue on disk to OTLP"
    ],
    "ClickHouse: `otel_logs` and `llm_calls`": MEASURED["ClickHouse, otel_logs and llm_calls"],
    "PostgreSQL: `llm_calls`, a partition a day": MEASURED["PostgreSQL, llm_calls in partitions, one writer"],
}


@pytest.mark.parametrize("row", COSTS)
def test_costs_are_those_measured(row):
    """
    Each cost is the one in the results, its CPU time to the microsecond.
    """
    cpu, *others = ((told, found) for told, found in zip(COSTS[row], SOURCES[row], strict=True) if told != "-")
    assert cpu[0] == pytest.approx(cpu[1], abs=0.5)
    assert all(told == found for told, found in others)


def test_figures_in_the_text():
    """
    What sentences take from the results, or from the sizes, is there.
    """
    lz4, of = re.search(r"lz4 makes (\d+) of Kafka's ([\d,]+)", PAGE).groups()
    assert (_number(lz4), _number(of)) == (*MEASURED["… lz4, in batches of 500"], TAKING[2])
    event, indexes = re.search(r"bytes ([\d,]+) are the whole record \(`event`\), (\d+) the indexes", RESULTS).groups()
    assert re.search(rf"`event`, {event} of the bytes\) and has eight indexes \({indexes}\)", PAGE)
    postgres, clickhouse = (EXPECTED[f"{store}, GB a day, one replica"](1000) for store in ("PostgreSQL", "ClickHouse"))
    assert re.search(rf"30 days\s+are {postgres * 0.03:.1f} TB there, and {clickhouse * 0.03:.1f} TB", PAGE)
    assert f'"{postgres:.0f} GB a day at 1,000 calls a second"' in PAGE
    brokers = SIZES["Kafka, cores"][2] / 8
    assert f"{brokers:.0f} of them, lie {SIZES['Kafka, partitions'][2] * 3 / brokers:.0f} replicas" in PAGE


@pytest.mark.parametrize("row", EXPECTED)
def test_sizes_follow_from_costs(row):
    """
    Each size is the cost times the rate, to two digits.
    """
    for rate, told in zip(SIZES["calls per second"], SIZES[row], strict=True):
        assert told == pytest.approx(EXPECTED[row](rate), rel=0.03, abs=0.05)


def test_everything_is_explained():
    """
    No cost and no size is there that nothing follows to.
    """
    assert COSTS.keys() == SOURCES.keys()
    assert SIZES.keys() - EXPECTED.keys() == {"calls per second"}


def test_how_long_kafka_may_be_gone():
    """
    The time that a full journal holds is that of its bytes.
    """
    records = 512 * 2**20 / PROCESS[2]
    told, hours, minutes = re.search(r"hold ([\d,]+) records, (\d+) hours and (\d+) minutes", PAGE).groups()
    assert _number(told) == pytest.approx(records, rel=0.01)
    assert int(hours) * 60 + int(minutes) == pytest.approx(records / 10 / 60, abs=2)


def test_files_are_there():
    """
    What the page links to exists.
    """
    assert all((ROOT / "docs" / link).exists() for link in re.findall(r"\]\(([^)]+)\)", PAGE))


@pytest.mark.server
def test_the_collector_takes_both_files(tmp_path):
    """
    The command on the page is a configuration that the real Collector accepts.
    """
    try:
        program = collector.install() / "collector"
    except Missing as missing:
        pytest.skip(str(missing))
    _, *arguments = shlex.split(re.search(r"^\$ (otelcol-contrib .*)$", PAGE, re.MULTILINE)[1])
    command = [program, "validate", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT / "collector-config",
        env={"COLLECTOR_STORAGE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
