"""What otel-llm says about itself."""

import logging
import sys

import pytest

from otel_llm import diagnostics
from otel_llm.errors import Problem


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forget what has been written, and set the logger up anew."""
    monkeypatch.setattr(diagnostics, "_warned", set())
    diagnostics.logger.cache_clear()


def test_problems_are_written_once(capsys):
    """Each problem is one line on stderr, once."""
    problem = Problem("environment OTEL_LLM_SINK", "an unknown variable", "a setting", "OTEL_LLM_SINKS")
    diagnostics.report([problem, problem])
    diagnostics.report([problem])
    assert capsys.readouterr().err == (
        "otel-llm WARNING: environment OTEL_LLM_SINK: found an unknown variable, expected a setting "
        "(did you mean 'OTEL_LLM_SINKS'?)\n"
    )


def test_repeated_sentences_are_dropped(capsys):
    """The same sentence is not written twice within a minute."""
    for _ in range(100):
        diagnostics.logger().warning("the sink %s is down", "kafka")
    assert capsys.readouterr().err == "otel-llm WARNING: the sink kafka is down\n"


def test_nothing_reaches_other_handlers(caplog):
    """Handlers of the root logger, OpenTelemetry's among them, never see our words."""
    with caplog.at_level(logging.DEBUG):
        diagnostics.logger().error("ours")
    assert caplog.records == []


def test_level(monkeypatch, capsys):
    """The level comes from the environment, and from settings later."""
    monkeypatch.setenv("OTEL_LLM_LOG_LEVEL", "info")
    diagnostics.logger().info("first")
    diagnostics.set_level("error")
    diagnostics.logger().warning("second")
    assert capsys.readouterr().err == "otel-llm INFO: first\n"


def test_a_closed_stderr_is_no_failure(monkeypatch, capsys):
    """A daemon without stderr is not broken by our words."""
    stream = open("/dev/null", "w")  # noqa: PTH123, SIM115
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    diagnostics.logger().warning("nobody reads this")
    monkeypatch.setattr(sys, "stderr", None)
    diagnostics.logger().warning("nor this")
    assert capsys.readouterr().out == ""


def test_failures_do_not_quote(capsys):
    """A failure of ours names its place and kind, never the words of the error."""
    with pytest.raises(ValueError, match="canary") as caught:
        int("canary: what the user wrote")
    diagnostics.report_failure("capture", caught.value)
    written = capsys.readouterr().err
    assert "canary" not in written
    assert "capture failed with ValueError at test_diagnostics.py:" in written
