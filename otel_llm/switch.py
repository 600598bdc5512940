"""
Whether otel-llm runs at all.
"""

import os
from collections.abc import Mapping

from otel_llm.settings import load


def enabled(code: Mapping[str, object] | None = None) -> bool:
    """
    Tell whether nobody switched otel-llm off, alone or with all of OpenTelemetry's SDK.
    """
    return not sdk_disabled() and load(code).settings.enabled


def sdk_disabled() -> bool:
    """
    Tell whether `OTEL_SDK_DISABLED` is true.
    """
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
