"""
The page on scaling: its sizes follow from the costs it names, and what it tells to run is taken.
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


def table(title):
    """
    Give the rows of a section's first table, by their first cell; numbers as numbers.
    """
    lines = re.search(rf"## {title}\n.*?(\|.*?)\n\n", PAGE, re.DOTALL)[1].splitlines()
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {name: [_number(cell) for cell in rest] for name, *rest in cells}


def _number(cell):
    return float(cell.replace(",", "")) if re.fullmatch(r"[\d,.]+", cell) else cell


COSTS = table("What a record costs")
SIZES = table("Sizes")
PROCESS, _, TAKING, GIVING, READING, STORING = list(COSTS.values())[2:]
CORES = 2 / 1e6
"""For each µs a record, with half of a processor left free."""

EXPECTED = {
    "cores of the applications, all together": lambda rate: rate * PROCESS[0] / 1e6,
    "network into Kafka, MB/s": lambda rate: rate * TAKING[2] / 1e6,
    "Kafka, cores": lambda rate: rate * (3 * TAKING[0] + GIVING[0]) * CORES,
    "Kafka, TB a day on 3 replicas": lambda rate: rate * DAY * TAKING[2] * 3 / 1e12,
    "Collectors": lambda rate: math.ceil(2 * rate / READING[1]),
    "ClickHouse, cores for inserting": lambda rate: rate * STORING[0] * CORES,
    "ClickHouse, GB a day, one replica": lambda rate: rate * DAY * STORING[2] / 1e9,
}


@pytest.mark.parametrize("row", EXPECTED)
def test_sizes_follow_from_costs(row):
    """
    Each size is the cost times the rate, to two digits.
    """
    for rate, told in zip(SIZES["calls per second"], SIZES[row], strict=True):
        assert told == pytest.approx(EXPECTED[row](rate), rel=0.03, abs=0.05)


def test_every_size_is_explained():
    """
    No row is there that nothing follows to.
    """
    assert SIZES.keys() - EXPECTED.keys() == {"calls per second", "---"}


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
    _, *arguments = shlex.split(re.search(r"^\$ (collector .*)$", PAGE, re.MULTILINE)[1])
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
