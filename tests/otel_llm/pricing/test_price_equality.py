"""Our rate cards against genai-prices' own calculation."""

from datetime import UTC, datetime, timedelta

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TimeOfDateConstraint
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_llm.call import Usage
from otel_llm.pricing.book import PriceBook

_THEIRS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "audio_cache_read_tokens": "cache_audio_read_tokens",
    "image_input_tokens": "input_image_tokens",
    "image_output_tokens": "output_image_tokens",
    "image_cache_read_tokens": "cache_image_read_tokens",
    "web_searches": "web_searches",
}
_MODELS = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
_BOOK = PriceBook()
_BOOK.load()
_tokens = st.sampled_from([0, 1, 7, 999, 130_000, 200_000]) | st.integers(0, 500_000)


@st.composite
def usages(draw):
    """Draw counts that do not contradict each other."""
    plain, read, write, write_1h, text, reasoning = (draw(_tokens) for _ in range(6))
    modalities = _tokens if draw(st.integers(0, 3)) == 0 else st.just(0)
    audio, audio_read, image, image_read, spoken, drawn = (draw(modalities) for _ in range(6))
    return Usage(
        input_tokens=plain + read + write + write_1h + audio + audio_read + image + image_read,
        cache_read_tokens=read + audio_read + image_read,
        cache_write_tokens=write + write_1h,
        cache_write_1h_tokens=write_1h,
        audio_input_tokens=audio + audio_read,
        audio_cache_read_tokens=audio_read,
        image_input_tokens=image + image_read,
        image_cache_read_tokens=image_read,
        output_tokens=text + reasoning + spoken + drawn,
        reasoning_tokens=reasoning,
        audio_output_tokens=spoken,
        image_output_tokens=drawn,
        web_searches=draw(st.sampled_from([0, 0, 0, 0, 0, 3])),
    )


def _theirs(provider, model, usage, at, context):
    counts = {theirs: getattr(usage, ours) for ours, theirs in _THEIRS.items()}
    return genai_prices.calc_price(
        genai_prices.Usage(**counts),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context=context,
    ).total_price


@settings(max_examples=400, deadline=None)
@given(
    entry=st.sampled_from(_MODELS),
    usage=usages(),
    at=st.integers(1_700_000_000, 1_800_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    tier=st.sampled_from([None, None, None, "default", "flex", "priority"]),
    processing=st.sampled_from([None, None, None, "batch"]),
)
def test_a_priced_call_costs_what_genai_prices_says(make_call, entry, usage, at, tier, processing):
    """
    For any listed model, counts, moment and tier: the same amount to the last digit, or unknown.

    What we refuse to price (audio without an audio price), genai-prices charges at the surrounding price or not at all.
    """
    provider, model = entry
    cost = _BOOK.price(make_call(provider, model, at=at, usage=usage, service_tier=tier, processing=processing))
    context = {key: value for key, value in (("service_tier", tier), ("processing", processing)) if value}
    assert cost.total is None or cost.total == _theirs(provider, model, usage, at, context or None)


def test_every_listed_model_is_priced_alike(make_call):
    """
    All models of the book once, with plain, cached, written and reasoning tokens.
    """
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    usage = Usage(
        input_tokens=250_000,
        cache_read_tokens=40_000,
        cache_write_tokens=2_000,
        cache_write_1h_tokens=500,
        output_tokens=3_000,
        reasoning_tokens=1_000,
    )
    costs = [(entry, _BOOK.price(make_call(*entry, at=at, usage=usage))) for entry in _MODELS]
    priced = [(entry, cost) for entry, cost in costs if cost.total is not None]
    assert len(priced) > 0.85 * len(costs)
    assert [entry for entry, cost in priced if cost.total != _theirs(*entry, _filled(usage), at, None)] == []


def _filled(usage):
    return Usage(**{name: getattr(usage, name) or 0 for name in Usage.__struct_fields__})


def test_off_peak_hours_begin_and_end_on_the_quarter_hour():
    """
    The book looks prices up once a quarter of an hour, which is right as long as no price changes within one.
    """
    constraints = [
        entry.constraint
        for provider in get_snapshot().providers
        for model in provider.models
        for entry in (model.prices if isinstance(model.prices, list) else ())
        if isinstance(entry.constraint, TimeOfDateConstraint)
    ]
    moments = [moment for entry in constraints for moment in (entry.start_time, entry.end_time)]
    assert moments
    assert all(
        timedelta(minutes=moment.minute, seconds=moment.second) % timedelta(minutes=15) == timedelta(0)
        for moment in moments
    )
