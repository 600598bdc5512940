"""
The formats by name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from otel_llm.errors import Problem, SettingsError
from otel_llm.formats import analytics, gateway_log, otel, otlp_json, otlp_proto, usage
from otel_llm.settings.conversion import listed, nearest
from otel_llm.telemetry.event import Event


@dataclass(frozen=True, slots=True)
class Format:
    """
    A pure projection of an event into bytes.
    """

    name: str
    content_type: str
    encode: Callable[[Event], bytes]
    join: Callable[[Iterable[bytes]], bytes] | None = None
    """Makes one document of several; None where a document holds one event only."""


JSON = "application/json"
PROTOBUF = "application/x-protobuf"

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "otel": Format("otel", JSON, otel.encode),
        "analytics": Format("analytics", JSON, analytics.encode),
        "gateway_log": Format("gateway_log", JSON, gateway_log.encode),
        "otlp_json": Format("otlp_json", JSON, otlp_json.encode, otlp_json.join),
        "otlp_proto": Format("otlp_proto", PROTOBUF, otlp_proto.encode, otlp_proto.join),
        "usage": Format("usage", JSON, usage.encode),
    }
)


def find(name: str, *, where: str = "format") -> Format:
    """
    Give the format of that name; raises `SettingsError`, which says `where` the name stood, when there is none.
    """
    if name in FORMATS:
        return FORMATS[name]
    raise SettingsError([Problem(where, repr(name), listed(FORMATS), nearest(name, FORMATS))])
