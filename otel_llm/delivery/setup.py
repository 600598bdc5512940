"""Settings to delivery: which sinks a process has, and where their records wait."""

import os
import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from opentelemetry.sdk.resources import Resource

from otel_llm import diagnostics, plugins
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.route import where_problems
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.formats import find
from otel_llm.settings import Loaded, Settings, SinkSettings
from otel_llm.telemetry.event import Event

DEFAULT_FORMATS = {"jsonl": "usage", "elasticsearch": "gateway_log"}
"""Sink type to the format of its records; all others are `otel`."""

LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"
"""Set where the process is frozen as soon as its handler has returned."""

LOCAL = frozenset({"jsonl", "sqlite"})
"""Sinks whose destination depends on the working directory, unless their paths are absolute."""


def delivery(
    loaded: Loaded,
    *,
    reprice: Callable[[Event], Event] | None = None,
    last_words: Callable[[], None] | None = None,
) -> Delivery | None:
    """
    Give the delivery that the settings ask for; None when no sink is named, or all is off.
    """
    specs = sink_specs(loaded.sinks) if loaded.settings.enabled else ()
    if not specs:
        return None
    return Delivery(sinks=specs, settings=delivery_settings(loaded.settings), reprice=reprice, last_words=last_words)


def delivery_settings(settings: Settings) -> DeliverySettings:
    """
    Give the part of the settings that delivery obeys.
    """
    return DeliverySettings(
        journal_dir=settings.journal_dir,
        service_name=service_name(),
        durability=settings.durability,
        journal_max_bytes=settings.journal_max_bytes,
        journal_max_age=settings.journal_max_age,
        journal_min_free_bytes=settings.journal_min_free_bytes,
        buffer_size=settings.buffer_size,
        when_full="drop_new" if settings.drop_on_backpressure else settings.when_full,
        block_ms=settings.block_ms,
        exit_timeout_ms=settings.exit_timeout_ms,
        freezes=LAMBDA in os.environ,
        batch_size=settings.batch_size,
        flush_interval_ms=settings.flush_interval_ms,
        async_workers=settings.async_workers,
    )


@cache
def service_name() -> str:
    """
    Give the service's name as OpenTelemetry knows it; to ask for the first time when the process ends is too late.
    """
    return str(Resource.create().attributes.get("service.name", "unknown_service"))


def sink_specs(sinks: Iterable[SinkSettings]) -> tuple[SinkSpec, ...]:
    """
    Give sinks as their couriers need them; one whose `where` makes no sense is reported and left out.
    """
    return tuple(sink_spec(sink) for sink in sinks if _can_choose(sink))


def _can_choose(sink: SinkSettings) -> bool:
    problems = where_problems(sink.common.where, f"sinks.{sink.name}.where")
    diagnostics.report(problems)
    return not problems


def sink_spec(sink: SinkSettings) -> SinkSpec:
    """
    Give one sink as its courier needs it.
    """
    common = sink.common
    wanted = find(common.format or DEFAULT_FORMATS.get(sink.type, "otel"))
    return SinkSpec(
        name=sink.name,
        make=partial(plugins.make_sink, sink),
        encoder=wanted.encode,
        content_type=wanted.content_type,
        join=wanted.join,
        identity=_identity(sink),
        where=common.where,
        content=common.content,
        sample=common.sample,
        redact=common.redact,
        max_rate=common.max_rate,
        max_age=common.max_age,
        max_attempts=common.max_attempts,
        batch_size=common.batch_size,
        flush_interval_ms=common.flush_interval_ms,
        async_workers=common.async_workers,
        batch_bytes=common.batch_bytes,
        send_timeout_ms=common.send_timeout_ms,
    )


def _identity(sink: SinkSettings) -> str:
    """
    Say where a sink's records go, without its secrets and without how they get there: the destination stays the same.
    """
    places = {name: value for name, value in sink.options.items() if not _is_secret(name) and not _is_manner(name)}
    told = {name: _PASSWORD.sub(r"\1", str(value)) for name, value in sorted(places.items())}
    return f"{sink.type} {told}" + (f" in {Path.cwd()}" if _is_relative(sink) else "")


_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*(?=@)|\bpassword\s*=\s*(?:'(?:\\.|[^'\\])*'|[^\s&]*)")
"""A password in a URL, or in libpq's words."""


def _is_relative(sink: SinkSettings) -> bool:
    paths = {name: Path(str(value)).expanduser() for name, value in sink.options.items() if name.endswith("path")}
    return sink.type in LOCAL and not ("path" in paths and all(path.is_absolute() for path in paths.values()))


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("password", "secret", "token", "key", "credentials", "header"))


def _is_manner(name: str) -> bool:
    """
    Tell an option that may be turned while records wait, and they still find their way.
    """
    return name.endswith(("_ms", "_bytes", "_days")) or any(word in name for word in _MANNERS)


_MANNERS = (
    "timeout",
    "compression",
    "max_",
    "allow_",
    "acks",
    "proxy",
    "ca_file",
    "cert_file",
    "ssl",
    "pool_size",
)
