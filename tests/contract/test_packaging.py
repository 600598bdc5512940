"""
What a user installs: the wheel without extras, on every Python there is, and the tree itself, editable.
"""

import json
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from installations import ROOT, environment, install, interpreters
from launch import ANSWER, CHAT, ROW, Application

pytestmark = pytest.mark.slow

PACKAGES = ("otel_llm", "otel_llm_exporters", "otel_llm_instrumentation")
PYTHONS = {"{}.{}".format(*sys.version_info): sys.executable} | interpreters()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """
    Build the wheel of this tree.
    """
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=PYTHONS.values(), ids=PYTHONS)
def installed(request, wheel):
    """
    Give an interpreter that has the wheel, what it depends on, and a provider's SDK: no extra.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = environment("wheel", *project["dependencies"], "openai>=3", python=request.param)
    install(python, "--no-deps", "--force-reinstall", str(wheel))
    return python


@pytest.fixture
def application(tmp_path, server):
    running = Application(tmp_path, server)
    yield running
    running.close()


class TestWheel:
    def test_contents(self, wheel):
        """
        The three packages are there with their type marks, and nothing else is.
        """
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
        assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)

    def test_metadata(self, wheel):
        """
        No extra is called as those by which OpenTelemetry switches instrumentors off; the licence is with it.
        """
        archive = zipfile.ZipFile(wheel)
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(path))
        assert not {"instruments", "instruments-any"} & set(metadata.get_all("Provides-Extra"))
        assert any(name.endswith("LICENSE") for name in archive.namelist())

    def test_imports(self, installed):
        """
        All three packages import without any extra, from where the wheel put them, and warn of nothing.
        """
        assert "site-packages" in _places(installed, "-W", "error")

    def test_ordinary_application(self, installed, application):
        """
        An application is recorded without a line of it being changed.
        """
        done = application.run(CHAT, python=installed, OTEL_LLM_SINKS="sqlite")
        assert (done.returncode, done.stdout, done.stderr, application.rows()) == (0, ANSWER, "", [ROW])

    def test_run(self, installed, application):
        """
        The command is installed and runs an application without any setting.
        """
        done = application.run(CHAT, python=installed, launcher="otel-llm")
        assert (done.stdout, application.rows()) == (ANSWER, [ROW])

    def test_doctor(self, installed, application):
        """
        The doctor finds nothing broken in a fresh installation.
        """
        done = _command(installed, application, "doctor", "--json")
        assert isinstance(json.loads(done.stdout), dict)
        assert done.returncode == 0, done.stdout

    def test_price(self, installed, application):
        """
        Prices come with it.
        """
        assert "$0.0025" in _command(installed, application, "price", "gpt-4o", "--input", "1000").stdout

    def test_collector_configurations(self, installed, application):
        """
        Configurations for a Collector come with it.
        """
        done = _command(installed, application, "collector-config", "agent")
        assert done.stdout == (ROOT / "collector-config" / "agent.yaml").read_text()


def test_editable():
    """
    Installed editable, the packages are those of the tree.
    """
    places = _places(environment("without-distro", "openai>=3", source=True))
    assert places.split() == [str(ROOT), str(ROOT / "exporters"), str(ROOT / "instrumentation")]


def _places(python, *options):
    code = f"import {', '.join(PACKAGES)}, pathlib\nfor one in {', '.join(PACKAGES)}: "
    code += "print(pathlib.Path(one.__file__).parents[1])"
    command = [python, *options, "-c", code]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout


def _command(python, application, *arguments):
    environ = {"HOME": str(application.folder), "PATH": "", "OTEL_LLM_SINKS": "sqlite"}
    command = [Path(python).with_name("otel-llm"), *arguments]
    return subprocess.run(
        command, cwd=application.folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
