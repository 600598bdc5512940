"""
The formats by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from otel_llm.errors import Problem, SettingsError
from otel_llm.formats import analytics, gateway_log, otel, usage
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


JSON = "application/json"

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "otel": Format("otel", JSON, otel.encode),
        "analytics": Format("analytics", JSON, analytics.encode),
        "gateway_log": Format("gateway_log", JSON, gateway_log.encode),
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
