"""`otel-llm run`."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from otel_llm.cli.run import environment

HERE = Path("/srv/app")
SHOW = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"


class TestEnvironment:
    def test_nothing_configured_means_a_local_database(self):
        """
        Without a Collector nothing is exported, and records go to a file in the working directory.
        """
        told = environment({"HOME": "/home/u"}, HERE)
        assert {name: value for name, value in told.items() if name != "PYTHONPATH"} == {
            "HOME": "/home/u",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_LLM_SINKS": "sqlite",
            "OTEL_LLM_SQLITE_PATH": "/srv/app/otel-llm.db",
        }

    @pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
    def test_a_named_collector_is_used(self, name):
        """
        Who names an OTLP endpoint keeps OpenTelemetry's own default exporters.
        """
        assert "OTEL_TRACES_EXPORTER" not in environment({name: "http://collector:4317"}, HERE)

    def test_a_chosen_exporter_stays(self):
        """
        Only the signals that the user did not speak of are switched off.
        """
        told = environment({"OTEL_TRACES_EXPORTER": "console"}, HERE)
        assert (told["OTEL_TRACES_EXPORTER"], told["OTEL_METRICS_EXPORTER"]) == ("console", "none")

    @pytest.mark.parametrize(
        "given",
        [
            {"OTEL_LLM_SINKS": "stdout"},
            {"OTEL_LLM_CONFIG": "llm.yaml"},
            {"ENABLED_EXPORTERS": "elasticsearch"},
            {"OTEL_CONFIG_FILE": "otel.yaml"},
            {"OTEL_LOGS_EXPORTER": "otlp, llm_kafka"},
        ],
    )
    def test_configured_sinks_stay(self, given):
        """
        Who chose sinks anywhere gets no database.
        """
        assert environment(given, HERE).get("OTEL_LLM_SINKS") == given.get("OTEL_LLM_SINKS")

    def test_a_path_alone_is_the_database(self):
        """
        A path without a sink still says where the database is.
        """
        assert environment({"OTEL_LLM_SQLITE_PATH": "x.db"}, HERE)["OTEL_LLM_SQLITE_PATH"] == "x.db"

    def test_own_modules_are_still_found(self):
        """
        The hook comes first, then the working directory, then what the user had; twice changes nothing.
        """
        once = environment({"PYTHONPATH": "/opt/lib"}, HERE)
        hook, *rest = once["PYTHONPATH"].split(os.pathsep)
        assert (Path(hook, "sitecustomize.py").is_file(), rest) == (True, ["/srv/app", "/opt/lib"])
        assert environment(once, HERE)["PYTHONPATH"] == once["PYTHONPATH"]


class TestProgram:
    """The program that is started takes our place."""

    @pytest.mark.parametrize("separator", [["--"], []])
    def test_arguments_arrive_as_they_are(self, separator, otel_llm, tmp_path):
        """
        An absolute interpreter gets every argument, `--` and our own option names included.
        """
        arguments = ["--", "--db", "x", "-h", ""]
        process = otel_llm("run", *separator, sys.executable, "-c", SHOW, *arguments)
        environ, argv = json.loads(process.communicate(timeout=30)[0])
        assert (process.returncode, argv) == (0, arguments)
        assert environ["OTEL_LLM_SQLITE_PATH"] == str(tmp_path / "otel-llm.db")

    def test_exit_code_is_the_programs(self, otel_llm):
        """
        What the program exits with we exit with.
        """
        assert otel_llm("run", "--", sys.executable, "-c", "raise SystemExit(41)").wait(30) == 41

    def test_signals_reach_the_program(self, otel_llm):
        """
        There is no process between the caller and the program.
        """
        waiting = "import time; print('up', flush=True); time.sleep(60)"
        process = otel_llm("run", "--", sys.executable, "-c", waiting)
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM

    def test_a_script_with_a_shebang(self, otel_llm, tmp_path):
        """
        An executable file in the working directory is run by the interpreter that it names.
        """
        script = tmp_path / "app"
        script.write_text(f"#!{sys.executable}\nprint('from the script')\n", encoding="utf-8")
        script.chmod(0o755)
        assert otel_llm("run", "./app").communicate(timeout=30)[0] == "from the script\n"

    def test_a_module(self, otel_llm, tmp_path):
        """
        `python -m` finds modules of the working directory.
        """
        (tmp_path / "shop.py").write_text("print('from', __name__)\n", encoding="utf-8")
        assert otel_llm("run", "--", sys.executable, "-m", "shop").communicate(timeout=30)[0] == "from __main__\n"

    @pytest.mark.parametrize(
        ("program", "code", "advice"),
        [
            ([], 2, "otel-llm run -- python app.py"),
            (["no-such-program"], 127, "no program 'no-such-program'"),
            (["app.py"], 127, "otel-llm run -- python app.py"),
            (["./broken"], 126, "cannot be executed"),
        ],
    )
    def test_what_cannot_start_is_told(self, program, code, advice, otel_llm, tmp_path):
        """
        A program that is missing or no program gives the shell's exit codes and a hint.
        """
        (tmp_path / "app.py").touch()
        (tmp_path / "broken").write_bytes(b"\x00\x01")
        (tmp_path / "broken").chmod(0o755)
        process = otel_llm("run", "--", *program)
        told = process.communicate(timeout=30)[1]
        assert (process.returncode, advice in told) == (code, True), told
