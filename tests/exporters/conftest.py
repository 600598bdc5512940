"""Events of calls, and batches of records."""

import time
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from otel_llm.delivery.sink import Batch, Record
from otel_llm.formats import otel, usage
from otel_llm.telemetry.event import Event, Resource, new_event_id

NOON = 1_768_219_200_123_456_789
"""2026-01-12 12:00:00.123456789 UTC."""
HOUR = 3600 * 10**9
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", 'Übermodell "x"; drop')


@pytest.fixture
def call():
    """
    Give a function that makes the event of a call; `a__b=1` is the attribute `a.b`, None takes one away.
    """

    def make(at_ns: int = NOON, **changes) -> Event:
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-11-20",
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.usage.input_tokens": 1200,
            "gen_ai.usage.output_tokens": 56,
            "gen_ai.usage.cache_read.input_tokens": 1000,
            "gen_ai.usage.cost": 0.000123,
            "http.response.status_code": 200,
            "otel_llm.attempts": 1,
            "otel_llm.cost.source": "book",
            "otel_llm.duration": 0.8125,
            "otel_llm.event.type": "api_call",
            "otel_llm.label.tenant_id": "t1",
            "otel_llm.start_time_unix_nano": at_ns - 812_500_000,
            "otel_llm.status": "success",
            "otel_llm.usage_source": "provider",
        } | {name.replace("__", "."): value for name, value in changes.items()}
        present = {name: value for name, value in attributes.items() if value is not None}
        resource = Resource({"service.name": "shop"})
        return Event(
            new_event_id(), "call", at_ns, time.time_ns(), 9, "INFO", present, "a" * 32, "b" * 16, resource=resource
        )

    return make


@pytest.fixture
def calls(call):
    """
    Give a function that makes the events of calls to four models, ten to a trace, at three moments a day apart.
    """

    def make(count: int, at_ns: int = NOON, apart_ns: int = 24 * HOUR) -> list[Event]:
        return [
            msgspec.structs.replace(
                call(at_ns - number % 3 * apart_ns, gen_ai__request__model=MODELS[number % 4]),
                trace_id=f"{number // 10 + 1:032x}",
                span_id=f"{number + 1:016x}",
            )
            for number in range(count)
        ]

    return make


@pytest.fixture
def told():
    """
    Give a function that counts events by their day and by their model.
    """

    def count(events: list[Event]) -> tuple[Counter[str], Counter[str]]:
        days = Counter(datetime.fromtimestamp(event.timestamp_ns // 10**9, UTC).date().isoformat() for event in events)
        return days, Counter(event.attributes["gen_ai.request.model"] for event in events)

    return count


@pytest.fixture(params=['x"; drop', "Ünï", "ä" * 35, "a..b", "a.", ".a", "", " ", "a*b", "a\nb", "_id"])
def odd_name(request):
    """
    Give a name that a label may have.
    """
    return request.param


@pytest.fixture
def failed(call):
    """
    Give the event of a call that the provider refused.
    """
    return call(
        error__type="invalid_api_key",
        otel_llm__error__message="Incorrect API key provided.",
        otel_llm__event__type="error",
        otel_llm__status="error",
        http__response__status_code=401,
        gen_ai__usage__input_tokens=None,
        gen_ai__usage__output_tokens=None,
        gen_ai__usage__cache_read__input_tokens=None,
        gen_ai__usage__cost=None,
        gen_ai__input__messages=[{"role": "user", "content": "hello"}],
    )


@pytest.fixture
def batch_of():
    """
    Give a function that makes a batch in the format `otel`, or another.
    """
    formats = {"otel": otel.encode, "usage": usage.encode, "plain": lambda event: msgspec.json.encode(event.attributes)}

    def make(*events: Event, wanted: str = "otel") -> Batch:
        return Batch([Record(event, formats[wanted](event)) for event in events])

    return make
