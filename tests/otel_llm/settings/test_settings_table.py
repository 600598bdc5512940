"""Every documented setting, from the environment, a file and code."""

from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from otel_llm.formats import FORMATS
from otel_llm.settings import ContentCapture, Settings, SinkCommon, environment_name, load

ROWS = [
    ("enabled", "false", False),
    ("config", "missing.yaml", Path("missing.yaml")),
    ("journal_dir", "/var/lib/otel-llm", Path("/var/lib/otel-llm")),
    ("durability", "power", "power"),
    ("journal_max_bytes", "1 GiB", 1024**3),
    ("journal_max_age", "36h", 129_600.0),
    ("journal_min_free_bytes", "1 GB", 1000**3),
    ("buffer_size", "5", 5),
    ("when_full", "drop_old", "drop_old"),
    ("block_ms", "7", 7),
    ("drop_on_backpressure", "true", True),
    ("batch_size", "500", 500),
    ("flush_interval_ms", "100", 100),
    ("async_workers", "4", 4),
    ("exit_timeout_ms", "250", 250),
    ("custom_labels", "tenant_id, team", ("tenant_id", "team")),
    ("metric_labels", "team", ("team",)),
    ("metric_label_values", "20", 20),
    ("metric_names", "next", "next"),
    ("record_severity", "spec", "spec"),
    ("native_spans", "replace", "replace"),
    ("include_usage", "api.openai.com,*.example.com", ("api.openai.com", "*.example.com")),
    ("exception_event", "yes", True),
    ("prices", "prices.yaml", Path("prices.yaml")),
    ("capture_hosts", "llm.internal=openai", ("llm.internal=openai",)),
    ("ignore_hosts", "*.test", ("*.test",)),
    ("propagate_trace", "llm.internal", ("llm.internal",)),
    ("log_level", "DEBUG", "debug"),
    ("content", "SPAN_ONLY", ContentCapture.SPAN_ONLY),
    ("redact_patterns", r"\d{16}", (r"\d{16}",)),
]
IN_FILES_ONLY = {"pricing", "api", "gateway"}
NOT_IN_A_FILE = {"config"}


def test_every_setting_has_a_row():
    """The table of this test knows every setting."""
    documented = {field.name for field in fields(Settings)} - IN_FILES_ONLY
    assert documented == {name for name, _, _ in ROWS} | {"sinks"}


@pytest.mark.parametrize(("name", "text", "value"), ROWS)
def test_environment_sets(name, text, value):
    """A setting is read from its environment variable, which is its origin."""
    loaded = load(environ={environment_name(name): text})
    assert (value, f"environment {environment_name(name)}") == (getattr(loaded.settings, name), loaded.origins[name])


@pytest.mark.parametrize(("name", "text", "value"), [row for row in ROWS if row[0] not in NOT_IN_A_FILE])
def test_file_sets(name, text, value, load_yaml):
    """A setting is read from the file, under its own name."""
    loaded = load_yaml(yaml.safe_dump({name: text}))
    assert ((), value) == (loaded.problems, getattr(loaded.settings, name))


@pytest.mark.parametrize(("name", "text", "value"), ROWS)
def test_code_sets(name, text, value):
    """A setting given in code is taken, as text or as the value itself."""
    from_text, from_value = load({name: text}, {}), load({name: value}, {})
    assert getattr(from_text.settings, name) == getattr(from_value.settings, name) == value
    assert from_text.origins[name] == "code"


@pytest.mark.parametrize(
    "name",
    [
        "buffer_size",
        "block_ms",
        "batch_size",
        "flush_interval_ms",
        "async_workers",
        "exit_timeout_ms",
        "journal_max_age",
    ],
)
@pytest.mark.parametrize("text", ["0", "-1"])
def test_numbers_start_above_zero(name, text):
    """Zero and negative numbers fall back to the default and are reported."""
    loaded = load(environ={environment_name(name): text})
    assert getattr(loaded.settings, name) == getattr(Settings(), name)
    assert len(loaded.problems) == 1


def test_defaults():
    """With nothing set there is no problem, no sink, and every origin is the default."""
    loaded = load(environ={"XDG_STATE_HOME": "/state"})
    assert loaded.settings == Settings(journal_dir=Path("/state/otel-llm/journal"))
    assert ((), (), {"default"}) == (loaded.problems, loaded.sinks, set(loaded.origins.values()))


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("true", ContentCapture.SPAN_AND_EVENT),
        ("False", ContentCapture.NO_CONTENT),
        ("event_only", ContentCapture.EVENT_ONLY),
        ("SPAN_AND_EVENT", ContentCapture.SPAN_AND_EVENT),
        ("", ContentCapture.NO_CONTENT),
    ],
)
def test_content_modes(text, mode):
    """Content capture is one of four modes; true and false are short for two of them."""
    loaded = load(environ={"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": text})
    assert (mode, ()) == (loaded.settings.content, loaded.problems)


@pytest.mark.parametrize("text", ["yes", "1", "SPAN", "everything"])
def test_unknown_content_mode_captures_nothing(text):
    """Any other word captures nothing and is reported."""
    loaded = load(environ={"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": text})
    assert (loaded.settings.content, len(loaded.problems)) == (ContentCapture.NO_CONTENT, 1)


def test_broken_redaction_captures_nothing():
    """Content is not captured when a redaction pattern cannot be used."""
    loaded = load({"content": "SPAN_AND_EVENT", "redact_patterns": ["ok", "("]}, {})
    assert loaded.settings.content is ContentCapture.NO_CONTENT
    assert len(loaded.problems) == 2


def test_drop_on_backpressure_drops_new_records():
    """`drop_on_backpressure` is `when_full: drop_new`, and a policy that contradicts it is reported."""
    assert load({"drop_on_backpressure": True}, {}).settings.when_full == "drop_new"
    assert load({"drop_on_backpressure": True, "when_full": "drop_old"}, {}).settings.when_full == "drop_old"
    assert len(load({"drop_on_backpressure": True, "when_full": "block"}, {}).problems) == 1


def test_every_format_can_be_set():
    """A sink's `format` may be any format that there is."""
    choices = get_args(get_args(get_type_hints(SinkCommon)["format"])[0])
    assert set(choices) == set(FORMATS)
