"""Calls to be priced, and the loaded book that prices them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from otel_llm.call import Call, Parameters, Usage
from otel_llm.pricing.book import PriceBook

MakeCall = Callable[..., Call]

NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _call(
    provider: str, model: str | None, *, at: datetime = NOVEMBER, usage: Usage | None = None, **facts: Any
) -> Call:
    names = facts.keys() & set(Usage.__struct_fields__)
    counts = {name: facts.pop(name) for name in names}
    return Call(
        **{
            "operation": "chat",
            "provider": provider,
            "api": "openai_chat",
            "started_ns": int(at.timestamp()) * 1_000_000_000,
            "duration_ns": 1,
            "status": "success",
            "request_model": model,
            "response_model": model,
            "usage": usage or Usage(**counts),
            "parameters": Parameters(),
            **facts,
        }
    )


@pytest.fixture(scope="session")
def make_call() -> MakeCall:
    """Make a finished call with these facts and counts."""
    return _call


@pytest.fixture(scope="session")
def book() -> PriceBook:
    """Load the published prices, alone."""
    prices = PriceBook()
    prices.load()
    return prices
