"""
Every option, its environment name, its name in a file, its default; one loader, one error report.
"""

from otel_llm.settings.conversion import Count, Duration, Patterns, Rate, Share, Size, Unfit, convert
from otel_llm.settings.loader import Loaded, load
from otel_llm.settings.options import read_options
from otel_llm.settings.secret import Secret
from otel_llm.settings.sink import SinkCommon, SinkSettings
from otel_llm.settings.table import ContentCapture, Settings, environment_name

__all__ = [
    "ContentCapture",
    "Count",
    "Duration",
    "Loaded",
    "Patterns",
    "Rate",
    "Secret",
    "Settings",
    "Share",
    "SinkCommon",
    "SinkSettings",
    "Size",
    "Unfit",
    "convert",
    "environment_name",
    "load",
    "read_options",
]
