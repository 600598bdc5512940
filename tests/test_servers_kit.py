"""The ground of the test servers: a cache, processes, servers of one's own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.kit import cache, catalogue, fixture, install, ports
from tests.servers.kit.missing import Missing, tool
from tests.servers.kit.program import Program

ROOT = Path(__file__).parents[1]
MAKE = """
import sys, time
from tests.servers.kit import cache
def make(folder):
    time.sleep(0.2)
    (folder / "made").write_text(sys.argv[1])
print((cache.made("thing-1", make) / "made").read_text())
"""


@pytest.fixture
def program():
    """
    Give a server that is not started yet.
    """
    port = ports.free()
    command = [sys.executable, "-m", "http.server", "--bind", ports.HOST, str(port)]
    made = Program("files", command, endpoint=f"{ports.HOST}:{port}", timeout=20)
    yield made
    made.stop()


def test_made_once(monkeypatch, tmp_path):
    """Of two test runs that begin together, one brings a program in and the other waits for it."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    commands = [[sys.executable, "-c", MAKE, name] for name in ("first", "second")]
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for command in commands]
    first, second = [run.communicate(timeout=20)[0] for run in runs]
    assert first == second


def test_made_anew(monkeypatch, tmp_path):
    """What failed half-way is made anew."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))

    def fail(folder):
        (folder / "half").touch()
        raise Missing("offline")

    with pytest.raises(Missing):
        cache.made("thing-1", fail)
    folder = cache.made("thing-1", lambda folder: (folder / "whole").touch())
    assert {path.name for path in folder.iterdir()} == {"whole", ".complete"}


def test_life_of_a_program(program):
    """A killed server comes back on its port with its data, and leaves nothing behind when it is stopped."""
    program.start()
    first = program.pid
    program.kill()
    assert not ports.is_open(program.port)
    program.restart()
    assert ports.is_open(program.port)
    assert program.pid != first
    program.stop()
    assert not program.folder.exists()


def test_nothing_outlives_the_tests():
    """A server ends with the process that started it, even when that is killed."""
    script = """
import sys, time
from tests.servers.kit.program import Program
from tests.servers.kit import ports
port = ports.free()
command = [sys.executable, "-m", "http.server", "--bind", ports.HOST, str(port)]
Program("files", command, endpoint=f"{ports.HOST}:{port}").start()
print(port, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        port = int(tests.stdout.readline())
        assert ports.is_open(port)
        tests.kill()
    ports.wait_until_free(port)


def test_program_that_ends():
    """A server that does not start says so with its log."""
    broken = Program("broken", [sys.executable, "-c", "exit('no such option')"], endpoint="127.0.0.1:1")
    with pytest.raises(RuntimeError, match=r"(?s)broken ended with 1; its log ends:.*no such option"):
        broken.start()
    broken.stop()


def test_missing_tool():
    """A tool that is not there is named with what brings it."""
    with pytest.raises(Missing, match="no-such-tool is not installed: buy one"):
        tool("no-such-tool", "buy one")


def test_failing_installer():
    """An installer that fails is told of in its own words."""
    with pytest.raises(Missing, match="it is raining"):
        install.run([sys.executable, "-c", "exit('it is raining')"])


def test_own_server(monkeypatch):
    """A server that the environment names is taken as it stands, and is never stopped."""
    monkeypatch.setenv("TEST_OTEL_LLM_KAFKA", "kafka.example.com:9092")
    monkeypatch.setenv("TEST_OTEL_LLM_KAFKA_SSL", "kafka.example.com:9093")
    servers = fixture.Servers()
    broker = servers.get("kafka")
    assert (broker.endpoint, broker.at("ssl")) == ("kafka.example.com:9092", "kafka.example.com:9093")
    with pytest.raises(pytest.skip.Exception, match="not ours to stop"):
        broker.kill()
    with pytest.raises(pytest.skip.Exception, match="TEST_OTEL_LLM_KAFKA_SASL is not set"):
        broker.at("sasl")
    servers.stop()


def test_shared_and_skipped(monkeypatch):
    """A server is started once for all tests; where it cannot be, each is skipped with one line."""
    servers = fixture.Servers()
    assert servers.get("kafka-mock") is servers.get("kafka-mock")
    servers.stop()
    monkeypatch.setattr(catalogue.module("kafka-mock"), "install", lambda: tool("no-such-tool", "buy one"))
    with pytest.raises(pytest.skip.Exception, match="no server kafka-mock: no-such-tool is not installed: buy one"):
        servers.start("kafka-mock")


def test_logs_are_kept(monkeypatch, tmp_path, program):
    """What a server has logged can be read after a failure, when the server and its folder are gone."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(catalogue.module("kafka-mock"), "start", program.start)
    servers = fixture.Servers()
    started = servers.start("kafka-mock")
    with started.log.open("a") as log:
        log.write("something broke\n")
    (kept,) = servers.keep_logs()
    servers.stop()
    assert "something broke" in kept.read_text()


@pytest.mark.parametrize("name", catalogue.names())
def test_catalogue(name):
    """Every server says what it is and how long it takes, and can be installed and started."""
    module = catalogue.module(name)
    assert module.__doc__.strip()
    assert module.TIER in {"quick", "full"}
    assert callable(module.install)
    assert callable(module.start)
