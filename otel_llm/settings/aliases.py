"""
Names that other systems have for our options, so that their settings go on working.

The systems are Bifrost's analytics plugin (`SinkType`, `BatchSize`), the MagicAPI gateway (`ENABLED_EXPORTERS`,
`ELASTICSEARCH_URL`), CLIProxyAPI (`metrics_storage_path`), Plexus (`logging.usage.storagePath`) and OpenTelemetry's own
batch processor. Such a name fills only what nobody set under ours.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

ENABLED_EXPORTERS: Final = "ENABLED_EXPORTERS"
"""Names sinks where nothing else does."""

EXPORTERS: Final = {"console": "stdout", "postgresql": "postgres", "elastic": "elasticsearch"}
"""Exporter names in `ENABLED_EXPORTERS`, and our sinks."""

SETTING_VARIABLES: Final = {
    "buffer_size": "OTEL_BLRP_MAX_QUEUE_SIZE",
    "batch_size": "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "flush_interval_ms": "OTEL_BLRP_SCHEDULE_DELAY",
}
"""Variables that fill a setting."""

SECTION_VARIABLES: Final = {
    "api": {
        "enabled": "METRICS_ENABLED",
        "bind_address": "METRICS_BIND_ADDRESS",
        "basic_auth_user": "METRICS_BASIC_AUTH_USER",
        "basic_auth_pass": "METRICS_BASIC_AUTH_PASS",
    },
}
"""Variables that fill an option of a section."""

SINK_VARIABLES: Final = {
    "sqlite": {"path": "METRICS_STORAGE_PATH"},
    "elasticsearch": {
        "url": "ELASTICSEARCH_URL",
        "index": "ELASTICSEARCH_INDEX",
        "username": "ELASTICSEARCH_USERNAME",
        "password": "ELASTICSEARCH_PASSWORD",
    },
    "datadog": {"api_key": "DD_API_KEY", "site": "DD_SITE"},
}
"""Variables that fill an option of a sink, by its type."""

SINK_OPTIONS: Final = {"batch_timeout": "flush_interval_ms", "batch_delay_ms": "flush_interval_ms"}
"""Options of a sink under another name."""

_KEYS: Final = {
    "usage_statistics_enabled": ("enabled",),
    "metrics_enabled": ("api", "enabled"),
    "metrics_bind_address": ("api", "bind_address"),
    "metrics_basic_auth_user": ("api", "basic_auth_user"),
    "metrics_basic_auth_pass": ("api", "basic_auth_pass"),
    "metrics_storage_path": ("sink_types", "sqlite", "path"),
    "host": ("gateway", "host"),
    "port": ("gateway", "port"),
    "proxy": ("gateway", "proxy"),
    "debug": ("gateway", "debug"),
    "concurrency": ("gateway", "concurrency"),
    "initial_pool_size": ("gateway", "initial_pool_size"),
}
_STORES: Final = {"usage", "errors", "debug"}


def snake_case(name: str) -> str:
    """
    Write `FlushIntervalMs`, `storagePath` or `buffer-size` as we do.
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def other_names(document: Mapping[str, object]) -> Iterator[tuple[str, tuple[str, ...], object]]:
    """
    Give what a file says under other systems' names: the key there, our path, the value.
    """
    for key, value in document.items():
        name = snake_case(key)
        if path := _KEYS.get(name):
            yield key, path, value
        elif name == "logging" and isinstance(value, Mapping):
            yield from _logging(key, value)
    yield from _single_sink({snake_case(key): (key, value) for key, value in document.items()})


def is_other_name(key: str) -> bool:
    """
    Say whether a key of a file is one that `other_names` reads.
    """
    return snake_case(key) in {*_KEYS, "logging", "sink_type", "sink_config"}


def _single_sink(document: Mapping[str, tuple[str, Any]]) -> Iterator[tuple[str, tuple[str, ...], object]]:
    if "sink_type" not in document:
        return
    key, sink = document["sink_type"]
    yield key, ("sinks",), sink
    key, options = document.get("sink_config", ("", None))
    if isinstance(options, Mapping):
        for option, value in options.items():
            yield f"{key}.{option}", ("sinks", str(sink), snake_case(str(option))), value


def _logging(key: str, stores: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], object]]:
    for store, options in stores.items():
        if store not in _STORES or not isinstance(options, Mapping):
            continue
        for option, value in options.items():
            name = snake_case(option).replace("storage_path", "path")
            yield f"{key}.{store}.{option}", ("sink_types", "jsonl", f"{store}_{name}"), value
