"""
The table of settings: every option of the process, its default and what it means.

The environment name of a field is `OTEL_LLM_` and the field in capitals; in a file it is the field's own name.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from otel_llm.settings.conversion import Count, Duration, Patterns, Size, Unfit, convert, listed, nearest

PREFIX: Final = "OTEL_LLM_"
CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class ContentCapture(StrEnum):
    """
    Where prompts and answers may go.
    """

    NO_CONTENT = "NO_CONTENT"
    SPAN_ONLY = "SPAN_ONLY"
    EVENT_ONLY = "EVENT_ONLY"
    SPAN_AND_EVENT = "SPAN_AND_EVENT"

    @property
    def captured(self) -> bool:
        """Whether content goes anywhere at all."""
        return self is not ContentCapture.NO_CONTENT

    @property
    def on_span(self) -> bool:
        """Whether spans carry content."""
        return self in {ContentCapture.SPAN_ONLY, ContentCapture.SPAN_AND_EVENT}

    @property
    def on_event(self) -> bool:
        """Whether records carry content, in OpenTelemetry and in the sinks."""
        return self in {ContentCapture.EVENT_ONLY, ContentCapture.SPAN_AND_EVENT}


def default_journal_dir(environ: Mapping[str, str]) -> Path:
    """
    Give the user's state directory, or a temporary one for a user without a home, which is every user of AWS Lambda.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in environ:
        return Path(tempfile.gettempdir()) / "otel-llm" / "journal"
    try:
        state = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        state = Path(tempfile.gettempdir())
    return state / "otel-llm" / "journal"


def _read_content(raw: object) -> ContentCapture:
    spelling = str(raw).strip().upper()
    if spelling in _CONTENT_FLAGS:
        return _CONTENT_FLAGS[spelling]
    if spelling in ContentCapture.__members__:
        return ContentCapture[spelling]
    raise Unfit(listed(ContentCapture), nearest(spelling, ContentCapture))


_CONTENT_FLAGS: Final = {"TRUE": ContentCapture.SPAN_AND_EVENT, "FALSE": ContentCapture.NO_CONTENT}


def _read_hosts_or_off(raw: object) -> tuple[str, ...]:
    spelling = str(raw).strip().lower()
    if spelling in {"off", "none", "no", "false"}:
        return ()
    hosts: tuple[str, ...] = convert(raw, tuple[str, ...])
    return hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    How the process captures, prices, keeps and delivers calls.
    """

    enabled: bool = True
    """`false` switches everything off."""
    sinks: tuple[str, ...] = ()
    """Names of the sinks that receive records; `none` switches off those that the file names."""
    config: Path | None = None
    """A file with settings: YAML, or JSON or TOML by its suffix."""
    journal_dir: Path = field(default_factory=lambda: default_journal_dir(os.environ))
    """Where records wait until every sink has them."""
    durability: Literal["memory", "process", "power", "always"] = "process"
    """What a record survives: nothing, `kill -9`, a power cut after 500 ms, or any power cut."""
    journal_max_bytes: Size = 512 * 1024**2
    """Most bytes the journal keeps, such as `512 MiB`."""
    journal_max_age: Duration = 7 * 86_400.0
    """Longest time a record waits for its sinks, such as `7d`."""
    journal_min_free_bytes: Size = 64 * 1024**2
    """Bytes that the journal leaves free on its disk; with fewer, records wait in memory."""
    buffer_size: Count = 10_000
    """Most records kept when durability is `memory`."""
    when_full: Literal["block", "drop_new", "drop_old"] = "block"
    """What happens to a record that finds no room."""
    block_ms: Count = 100
    """Longest wait for room, in milliseconds."""
    drop_on_backpressure: bool = False
    """The same as `when_full: drop_new`."""
    batch_size: Count = 100
    """Most records in one batch; also settable for each sink."""
    flush_interval_ms: Count = 1000
    """Longest wait for a batch to fill, in milliseconds; also settable for each sink."""
    async_workers: Count = 1
    """Batches of one sink on their way at once; above 1 their order is not kept. Also settable for each sink."""
    exit_timeout_ms: Count = 5000
    """How long the exit of the process may wait for all sinks together, in milliseconds."""
    custom_labels: tuple[str, ...] = ()
    """Context and baggage keys that become labels."""
    metric_labels: tuple[str, ...] = ()
    """Labels that metrics may carry."""
    metric_label_values: Count = 100
    """Most values of one label, or names of models, that metrics tell apart; further ones are counted together."""
    metric_names: Literal["released", "next"] = "released"
    """Metric names of the released conventions, or of the next ones."""
    record_severity: Literal["info", "spec"] = "info"
    """Severity of a record: INFO, or the DEBUG that the conventions recommend."""
    native_spans: Literal["enrich", "replace"] = "enrich"
    """What becomes of a provider SDK's own GenAI spans: they are enriched, or switched off and replaced."""
    include_usage: Annotated[tuple[str, ...], _read_hosts_or_off] = ()
    """Host globs whose OpenAI streams are asked for their token usage; `off` for none."""
    exception_event: bool = False
    """Whether failures are also emitted as `gen_ai.client.operation.exception`, to OpenTelemetry only."""
    prices: Path | None = None
    """A YAML file with the operator's own prices."""
    capture_hosts: tuple[str, ...] = ()
    """Host globs that are always captured; `glob=provider` names the provider."""
    ignore_hosts: tuple[str, ...] = ()
    """Host globs that are never captured."""
    propagate_trace: tuple[str, ...] = ()
    """Host globs that receive a `traceparent` header from us."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "warning"
    """Least level of our own diagnostics, which go to stderr."""
    content: Annotated[ContentCapture, _read_content] = ContentCapture.NO_CONTENT
    """Where prompts and answers may go; `true` stands for SPAN_AND_EVENT."""
    redact_patterns: Patterns = ()
    """Regular expressions; what they match in content is redacted, besides keys and tokens."""
    pricing: Mapping[str, object] = field(default_factory=dict)
    """The operator's own prices, as a section of the file: `models`, `discounts`."""
    api: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Options of the usage API, as they stand: `bind_address`, `basic_auth_user`, `basic_auth_pass`."""
    gateway: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Options of the gateway, as they stand: `port`, `proxy`, `concurrency`."""


def environment_name(setting: str) -> str:
    """
    Give the environment variable that holds a setting.
    """
    return CONTENT_VARIABLE if setting == "content" else PREFIX + setting.upper()
