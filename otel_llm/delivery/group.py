"""
Whose journals belong together: the same service with the same sinks.

Records of one service never leave through another's sinks, so adoption stays within a group.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from otel_llm.delivery import files
from otel_llm.delivery.spec import DeliverySettings, SinkSpec

LABEL = "group.json"


def group_folder(settings: DeliverySettings, sinks: Sequence[SinkSpec]) -> Path:
    """
    Give the folder of a group; its name is a hash, for destinations may hold secrets.
    """
    parts = [settings.service_name, *sorted(f"{spec.name}\0{spec.identity}" for spec in sinks)]
    return settings.journal_dir / hashlib.sha256("\0\0".join(parts).encode()).hexdigest()[:16]


def label(folder: Path, settings: DeliverySettings, sinks: Sequence[SinkSpec]) -> None:
    """
    Write down for people whose journals these are.
    """
    files.private_folder(folder)
    about = {"service": settings.service_name, "sinks": {spec.name: spec.key for spec in sinks}, "version": 1}
    files.replace(folder / LABEL, msgspec.json.format(msgspec.json.encode(about)) + b"\n")
