"""The doctor finds what is wrong, and says what to do."""

import json
import os
import sqlite3
import time
from contextlib import closing

import pytest

from otel_llm.cli.doctor import examine
from otel_llm.cli.doctor import probe as probing
from otel_llm.cli.main import main
from otel_llm.delivery import mounts, setup
from otel_llm.delivery.group import group_folder, label
from otel_llm.delivery.journal import Journal
from otel_llm.settings import load
from otel_llm.telemetry.event import EVENT_NAME, Event, new_event_id

SINK = """
import time
from dataclasses import dataclass
from otel_llm.delivery.sink import Receipt, Rejected, Retry

@dataclass(frozen=True, kw_only=True)
class Options:
    api_key: str = ""
    answer: str = "delivered"

class AcmeSink:
    Options = Options
    def __init__(self, options):
        self.options = options
    async def open(self):
        pass
    async def send(self, batch):
        if self.options.answer == "hang":
            time.sleep(2)
        if self.options.answer == "raise":
            raise ConnectionError(f"cannot log in with {self.options.api_key} at https://me:canary@host/\\x1b[31m")
        return {"delivered": Receipt.delivered(), "retry": Receipt(Retry()), "no": Receipt(Rejected("too old"))}[
            self.options.answer
        ]
    async def close(self):
        pass
"""


def texts(level: str = "problem", *, probe: bool = False) -> dict[str, str | None]:
    """Give what the doctor finds at one level, with the fixes."""
    found = [finding for section in examine(probe=probe).sections for finding in section.findings]
    return {finding.text: finding.fix for finding in found if finding.level == level}


class TestAllIsWell:
    def test_exit_code(self, capsys):
        """The exit code is 0 when there is no problem."""
        assert main(["doctor"]) == 0
        assert capsys.readouterr().out.endswith("No problems found.\n")

    def test_probe(self, tmp_path):
        """Each sink receives one test record, which can be told from a call."""
        assert not texts(probe=True)
        with closing(sqlite3.connect(tmp_path / "calls.db")) as connection:
            assert connection.execute("SELECT request_model, provider FROM llm_calls").fetchall() == [
                (probing.MODEL, "otel_llm")
            ]

    def test_without_a_probe(self, tmp_path):
        """`--no-probe` opens no sink."""
        assert main(["doctor", "--no-probe"]) == 0
        assert not (tmp_path / "calls.db").exists()

    def test_json(self, capsys):
        """JSON has the verdict, and all findings by section."""
        main(["doctor", "--json", "--no-probe"])
        document = json.loads(capsys.readouterr().out)
        assert document["ok"]
        assert {"level", "text", "fix"} == document["sections"]["Versions"][0].keys()
        assert any("openai" in finding["text"] for finding in document["sections"]["Provider SDKs"])


@pytest.mark.parametrize(
    ("variables", "text", "fix"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "nothing is captured", "unset OTEL_SDK_DISABLED"),
        ({"OTEL_LLM_ENABLED": "false"}, "switched off (environment OTEL_LLM_ENABLED)", "OTEL_LLM_ENABLED=true"),
        ({"OTEL_LLM_SINKS": "none"}, "goes nowhere", "export OTEL_LLM_SINKS=sqlite"),
        ({"OTEL_LLM_SINKS": "sqlit,sqlite"}, "the unknown sink 'sqlit'", "export OTEL_LLM_SINKS=sqlite,sqlite"),
        ({"OTEL_LLM_SINK": "x"}, "unknown variable", "unset OTEL_LLM_SINK"),
        ({"OTEL_LLM_DURABILITY": "proces"}, "'proces'", "export OTEL_LLM_DURABILITY=process"),
        ({"OTEL_LLM_SQLITE_PATHS": "x"}, "unknown option", 'export OTEL_LLM_SQLITE_PATH="$OTEL_LLM_SQLITE_PATHS"'),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "no package provides jaeger", "export OTEL_TRACES_EXPORTER=none"),
        ({"OTEL_LOGS_EXPORTER": "llm_sqlit"}, "no package provides llm_sqlit", "OTEL_LOGS_EXPORTER=llm_sqlite"),
        ({"OTEL_CONFIG_FILE": "gone.yaml"}, "is no file", "unset OTEL_CONFIG_FILE"),
        ({"OTEL_EXPERIMENTAL_CONFIG_FILE": "o.yaml"}, "not read", "export OTEL_CONFIG_FILE=o.yaml"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_llm_httpx"}, "not captured", "unset OTEL_PYTHON_DISABLED"),
    ],
)
def test_mistakes_in_the_environment(environ, variables, text, fix):
    """Each mistake is a problem with a fix to copy."""
    for name, value in variables.items():
        environ.setenv(name, value)
    ((found, advice),) = texts().items()
    assert text in found
    assert advice is not None
    assert fix in advice


def test_no_collector(environ):
    """An OTLP exporter without a collector behind it is a problem, as every exit waits for it."""
    environ.setenv("OTEL_TRACES_EXPORTER", "otlp")
    environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:canary@127.0.0.1:9")
    ((found, fix),) = texts(probe=True).items()
    assert "no collector answers at http://127.0.0.1:9" in found
    assert fix == "export OTEL_TRACES_EXPORTER=none"


def test_sink_among_the_exporters(environ, tmp_path):
    """A sink that only OTEL_LOGS_EXPORTER names is examined too."""
    environ.delenv("OTEL_LLM_SINKS")
    environ.setenv("OTEL_LOGS_EXPORTER", "llm_sqlite")
    assert not texts(probe=True)
    assert (tmp_path / "calls.db").exists()


def test_content(environ):
    """The sinks that prompts would reach are named."""
    environ.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    assert "prompts and answers reach sqlite" in texts("warning")


def test_origins():
    """Options are shown with the place they came from."""
    facts = texts("fact")
    assert any(text.startswith("sinks.sqlite.path = ") and "environment OTEL_LLM_SQLITE_PATH" in text for text in facts)


def test_where(environ):
    """A `where` that cannot be understood is a problem, with the name that was meant."""
    environ.setenv("OTEL_LLM_SQLITE_WHERE", "modle=gpt-4o")
    ((text, fix),) = texts().items()
    assert text.startswith("sinks.sqlite.where: found 'modle'")
    assert fix == "in sinks.sqlite.where: write model"


class TestJournal:
    def test_not_a_folder(self, environ, tmp_path):
        """A journal below a file is a problem."""
        (tmp_path / "file").touch()
        environ.setenv("OTEL_LLM_JOURNAL_DIR", str(tmp_path / "file" / "journal"))
        assert any("which is no folder" in text for text in texts())

    def test_full_disk(self, environ):
        """A disk with less room than the journal leaves free is a problem."""
        environ.setenv("OTEL_LLM_JOURNAL_MIN_FREE_BYTES", str(2**60))
        (found,) = texts()
        assert found.endswith("are free, journal_min_free_bytes is 1073741824 GiB: records wait in memory only")

    def test_network_file_system(self, environ, tmp_path):
        """A journal whose locks another machine keeps is worth a warning."""
        mounts_of_a_server = tmp_path / "mounts"
        mounts_of_a_server.write_text(f"1 0 0:1 / {tmp_path} rw - nfs4 server:/home rw\n")
        environ.setattr(mounts, "MOUNTS", mounts_of_a_server)
        assert any("network file system (nfs4)" in text for text in texts("warning"))

    def test_what_waits(self, leave):
        """What dead processes left is shown per sink with its age, and with what delivers it."""
        leave(3)
        ((text, fix),) = [(text, fix) for text, fix in texts("warning").items() if "unknown_service" in text]
        assert text == "unknown_service to sqlite: 3 records, the oldest 1 h old; 3 of them left by 1 dead process"
        assert fix == "OTEL_SERVICE_NAME=unknown_service otel-llm journal drain"

    def test_what_nobody_waits_for(self, leave, environ):
        """Records for a sink that the settings no longer name are told with the ways out."""
        leave(2)
        environ.setenv("OTEL_LLM_SINKS", "stdout")
        (found,) = [text for text in texts("warning") if "unknown_service" in text]
        assert found.endswith("1 dead process; no sink sqlite in the settings")
        assert texts("warning")[found] == "otel-llm journal purge --sink sqlite  # or name it again"

    def test_what_waits_for_another_place(self, leave, environ, tmp_path):
        """Nobody is told to delete what only other settings can deliver."""
        leave(2)
        environ.setenv("OTEL_LLM_SQLITE_PATH", str(tmp_path / "other.db"))
        ((text, fix),) = [(text, fix) for text, fix in texts("warning").items() if "unknown_service" in text]
        assert "to another place" in text
        assert fix == "otel-llm journal drain  # with the settings they are for"

    def test_dead_letters(self, leave):
        """Dead letters are counted for each sink."""
        folder = leave(1)
        (folder / "dead-letters").mkdir(mode=0o700)
        (folder / "dead-letters" / "sqlite-0.jsonl").write_text("{}\n{}\n")
        assert texts("warning")["unknown_service to sqlite: 2 dead letters, 6 B"] == "otel-llm journal dead"

    @pytest.fixture
    def leave(self, environ, tmp_path):
        """Leave a journal as a process does that has just ended."""
        environ.setenv("OTEL_LLM_JOURNAL_DIR", str(tmp_path / "journal"))
        environ.setattr(setup, "service_name", lambda: "unknown_service")

        def run(count):
            settings = setup.delivery_settings(load().settings)
            specs = setup.sink_specs(load().sinks)
            group = group_folder(settings, specs)
            label(group, settings, specs)
            journal = Journal(group, settings, [specs[0].key], rejected=print, wake=print)
            made = time.time_ns() - 4_000_000_000_000
            for _ in range(count):
                journal.append(Event(new_event_id(), EVENT_NAME, made, made, 9, "INFO", {}).encode())
            journal.close()
            return group

        return run


class TestSinks:
    @pytest.fixture(autouse=True)
    def acme(self, install, environ):
        """Install a third party's sink and switch it on."""
        install("acme", SINK, otel_llm_sink="acme = acme:AcmeSink")
        environ.setenv("OTEL_LLM_SINKS", "acme")
        environ.delenv("OTEL_LLM_SQLITE_PATH")

    def test_asynchronous(self):
        """A sink with coroutines is probed in a loop."""
        assert not texts(probe=True)

    @pytest.mark.parametrize(
        ("answer", "text"),
        [("retry", "acme: could not take the test record now"), ("no", "acme: refused the test record: too old")],
    )
    def test_refusals(self, environ, answer, text):
        """What the sink answers is told."""
        environ.setenv("OTEL_LLM_ACME_ANSWER", answer)
        assert text in texts(probe=True)

    def test_hanging(self, environ):
        """A sink that does not come back is a problem, and the doctor goes on."""
        environ.setattr(probing, "SECONDS", 0.05)
        environ.setenv("OTEL_LLM_ACME_ANSWER", "hang")
        assert "acme: no answer within 0 s" in texts(probe=True)

    @pytest.mark.parametrize("flag", [[], ["--json"]])
    def test_secrets_and_control_sequences_are_not_shown(self, environ, capsys, flag):
        """Secrets in a client's words are hidden, and the terminal is not spoken to."""
        environ.setenv("OTEL_LLM_ACME_ANSWER", "raise")
        environ.setenv("OTEL_LLM_ACME_API_KEY", "canary-key")
        environ.setenv("OTEL_LLM_ACME_APIKEY", "")
        assert main(["doctor", *flag]) == 1
        output = capsys.readouterr()
        assert "cannot log in with ********" in output.out
        assert "canary" not in output.out + output.err
        assert "\x1b" not in output.out

    def test_missing_client(self, install, environ):
        """The command that installs a missing client is the fix."""
        install("acme2", "import acme_client_that_is_missing", ("bus",), otel_llm_sink="bus = acme2:Bus")
        environ.setenv("OTEL_LLM_SINKS", "bus")
        assert texts() == {"bus: the bus sink needs its client: pip install 'acme2[bus]'": "pip install 'acme2[bus]'"}


class TestOtherInstrumentations:
    def test_one(self, install):
        """One other instrumentation is told as a fact."""
        install("openlit", "", opentelemetry_instrumentor="openai = openlit:X")
        assert any(text.startswith("openai: OpenLIT makes the spans") for text in texts("fact"))

    def test_two_families(self, install):
        """Two that instrument one SDK are a problem; the fix removes one."""
        install("openlit", "", opentelemetry_instrumentor="openai = openlit:X")
        install("openinference_instrumentation_openai", "", opentelemetry_instrumentor="openai = x:X")
        ((text, fix),) = texts().items()
        assert "openai is instrumented by OpenInference and OpenLIT" in text
        assert fix == "pip uninstall openlit"

    def test_two_distros(self, install):
        """Two distros are a problem, as chance decides between them."""
        install("acme", "", opentelemetry_distro="acme = acme:Distro")
        ((text, fix),) = texts().items()
        assert "acme and distro" in text
        assert fix == "export OTEL_PYTHON_DISTRO=acme"


def test_nothing_is_left_behind(tmp_path):
    """Without a probe the doctor writes no file."""
    examine(probe=False)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
