"""What `collector-config/README.md` says of the configurations beside it."""

import re
from pathlib import Path

import pytest

from tests.servers import collector

FOLDER = Path(__file__).parents[2] / "collector-config"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def readme():
    return (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_and_section(path, readme):
    """
    Each file has a row with the sentence that it opens with, and a section that begins with a diagram.
    """
    sentence = path.read_text().splitlines()[0].removeprefix("# ")
    assert f"| [{path.name}]({path.name}) | {sentence} |" in readme
    assert f"## {path.name}\n\n```\n" in readme


def test_variables(readme):
    """
    Each variable that a file reads is in the table with its default, and no other.
    """
    texts = "".join(path.read_text() for path in FILES)
    read = dict(re.findall(r"\$\{env:(\w+):-([^}]*)\}", texts))
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^`|]*?)`? \|", readme, re.MULTILINE))
    assert told == read


def test_versions(readme):
    """
    The versions are those of the parts that the tests run, and of the image that the compose file names.
    """
    versions = {version for kind in collector._MODULES.values() for version in kind.values()}
    parts = sorted(version.removeprefix("v").removesuffix(".0") for version in versions if version.startswith("v0."))
    assert f"a real Collector {parts[-1]}, built of parts from {parts[0]} to {parts[-1]}," in readme
    assert f"**Take {parts[-1]} or later.**" in readme
    compose = (FOLDER.parent / "examples" / "compose.yaml").read_text()
    assert f"otel/opentelemetry-collector-contrib:{parts[-1]}.0" in compose
