"""
One call as one readable line.

`09:15:00 openai/gpt-4o chat 1,200 in (1,000 cached) 56 out $0.000123 812 ms success`
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from otel_llm.pricing.money import dollars
from otel_llm.telemetry.event import Event
from otel_llm.telemetry.text import clean

_COLORS = {"success": "32", "rate_limited": "33", "cancelled": "33", "timeout": "31", "error": "31"}
_DIM = "2"
_BOLD = "1"
_LONGEST = 200


def render(event: Event, color: bool) -> str:
    """
    Give the line; escape sequences in values are left out, colours are ours.
    """
    return " ".join(_paint(text, code) if color and code else text for text, code in _parts(event))


def _parts(event: Event) -> Iterator[tuple[str, str]]:
    yield f"{datetime.fromtimestamp(event.timestamp_ns / 1e9, UTC):%H:%M:%S}", _DIM
    yield _model(event), _BOLD
    yield _printable(event.get("gen_ai.operation.name", "call")), ""
    yield from ((text, "") for text in (_tokens(event), _cost(event)) if text)
    if timing := _timing(event):
        yield timing, _DIM
    status = _printable(event.get("otel_llm.status", "error" if event.get("error.type") else "success"))
    yield status + _attempts(event), _COLORS.get(status, "31")
    if reason := _reason(event):
        yield reason, "31"


def _model(event: Event) -> str:
    model = event.get("gen_ai.response.model") or event.get("gen_ai.request.model") or "unknown model"
    provider = event.get("gen_ai.provider.name")
    return _printable(f"{provider}/{model}" if provider else model)


def _tokens(event: Event) -> str:
    read, written = event.get("gen_ai.usage.input_tokens"), event.get("gen_ai.usage.output_tokens")
    if read is None and written is None:
        return "tokens unknown" if _succeeded(event) else ""
    return " ".join(part for part in (_input(event, read), _count(written, "out")) if part)


def _input(event: Event, count: object) -> str:
    kinds = (("cache_read", "cached"), ("cache_write", "written"))
    parts = [_count(event.get(f"gen_ai.usage.{kind}.input_tokens") or None, word) for kind, word in kinds]
    aside = ", ".join(part for part in parts if part)
    return _count(count, "in") + (f" ({aside})" if aside else "")


def _cost(event: Event) -> str:
    cost = event.get("gen_ai.usage.cost")
    if isinstance(cost, int | float):
        return dollars(cost)
    reason = event.get("otel_llm.cost.unknown_reason")
    return f"cost unknown ({_printable(reason)})" if reason and _succeeded(event) else ""


def _succeeded(event: Event) -> bool:
    return bool(event.get("otel_llm.status", "success") == "success")


def _timing(event: Event) -> str:
    duration = event.get("otel_llm.duration")
    if not isinstance(duration, int | float):
        return ""
    first = event.get("gen_ai.response.time_to_first_chunk")
    aside = f" (first {_seconds(first)})" if isinstance(first, int | float) else ""
    return _seconds(duration) + aside


def _attempts(event: Event) -> str:
    attempts = event.get("otel_llm.attempts")
    return f" after {attempts} attempts" if isinstance(attempts, int) and attempts > 1 else ""


def _reason(event: Event) -> str:
    told = (event.get("http.response.status_code"), event.get("error.type"), event.get("otel_llm.error.message"))
    return _printable(" ".join(str(part) for part in told if part)) if event.get("error.type") else ""


def _printable(value: object) -> str:
    return clean(str(value))[:_LONGEST]


def _count(value: object, what: str) -> str:
    return f"{value:,} {what}" if isinstance(value, int) else ""


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"
