"""Published prices (USD per million tokens, as the providers list them) with the arithmetic worked out."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

M = 1_000_000


def test_cached_tokens_are_charged_at_their_own_price_and_only_there(book, make_call):
    """
    gpt-4o lists 2.50 input, 1.25 cached input, 10.00 output; 200 of the 1000 input tokens were cached.
    """
    cost = book.price(
        make_call("openai", "gpt-4o-2024-08-06", input_tokens=1000, cache_read_tokens=200, output_tokens=500)
    )
    assert (cost.input, cost.cache_read, cost.output) == (
        Decimal(800) * Decimal("2.50") / M,
        Decimal(200) * Decimal("1.25") / M,
        Decimal(500) * Decimal("10.00") / M,
    )
    assert cost.total == Decimal("0.002") + Decimal("0.00025") + Decimal("0.005")


def test_reasoning_without_a_price_of_its_own_is_output(book, make_call):
    """
    o3 lists 2.00 input and 8.00 output; its 400 reasoning tokens are among the 500 output tokens.
    """
    cost = book.price(make_call("openai", "o3", input_tokens=100, output_tokens=500, reasoning_tokens=400))
    assert cost.total == Decimal(100) * Decimal("2.00") / M + Decimal(500) * Decimal("8.00") / M
    assert cost.reasoning is None


def test_reasoning_with_a_price_of_its_own_is_charged_apart(book, make_call):
    """
    sonar-deep-research lists 2 input, 8 output and 3 reasoning.
    """
    cost = book.price(
        make_call("perplexity", "sonar-deep-research", input_tokens=50, output_tokens=900, reasoning_tokens=600)
    )
    assert (cost.output, cost.reasoning) == (Decimal(300) * Decimal(8) / M, Decimal(600) * Decimal(3) / M)


def test_audio_is_charged_at_audio_prices(book, make_call):
    """
    gpt-audio lists 2.50 and 10 for text, 32 and 64 for audio.
    """
    cost = book.price(
        make_call(
            "openai", "gpt-audio", input_tokens=100, audio_input_tokens=60, output_tokens=80, audio_output_tokens=50
        )
    )
    assert cost.audio == Decimal(60) * Decimal(32) / M + Decimal(50) * Decimal(64) / M
    assert cost.total == cost.audio + Decimal(40) * Decimal("2.50") / M + Decimal(30) * Decimal(10) / M


def test_cached_audio_is_taken_out_of_both_audio_and_cached_text(book, make_call):
    """
    gpt-realtime lists 4 input, 0.40 cached, 32 audio, 0.40 cached audio, 16 output.
    """
    cost = book.price(
        make_call(
            "openai",
            "gpt-realtime",
            input_tokens=1000,
            cache_read_tokens=300,
            audio_input_tokens=500,
            audio_cache_read_tokens=100,
            output_tokens=0,
        )
    )
    text, cached_text, audio, cached_audio = 1000 - 300 - 500 + 100, 300 - 100, 500 - 100, 100
    assert (
        cost.total
        == (
            Decimal(text) * 4
            + Decimal(cached_text) * Decimal("0.40")
            + Decimal(audio) * 32
            + Decimal(cached_audio) * Decimal("0.40")
        )
        / M
    )


@pytest.mark.parametrize(
    ("tier", "input_price", "output_price"),
    [("default", "1.25", "10"), ("flex", "0.625", "5"), ("priority", "2.50", "20")],
)
def test_the_tier_that_answered_sets_the_price(book, make_call, tier, input_price, output_price):
    """
    gpt-5 lists 1.25/10, half of it for flex and double for priority.
    """
    cost = book.price(make_call("openai", "gpt-5", service_tier=tier, input_tokens=1000, output_tokens=200))
    assert cost.total == Decimal(1000) * Decimal(input_price) / M + Decimal(200) * Decimal(output_price) / M


def test_a_batch_job_costs_half(book, make_call):
    """
    gpt-5 in a batch lists 0.625 and 5.
    """
    cost = book.price(make_call("openai", "gpt-5", processing="batch", input_tokens=1000, output_tokens=200))
    assert cost.total == Decimal(1000) * Decimal("0.625") / M + Decimal(200) * Decimal(5) / M


def test_anthropics_batch_tier_is_a_batch_job(book, make_call):
    """
    Anthropic says `service_tier: batch`; claude-opus-4-6 then lists 2.50 and 12.50.
    """
    cost = book.price(
        make_call("anthropic", "claude-opus-4-6", service_tier="batch", input_tokens=1000, output_tokens=200)
    )
    assert cost.total == Decimal(1000) * Decimal("2.50") / M + Decimal(200) * Decimal("12.50") / M


def test_cache_writes_are_charged_by_how_long_they_are_kept(book, make_call):
    """
    claude-sonnet-4-5 lists 3 input, 0.30 read, 3.75 five-minute write, 6 one-hour write, 15 output.
    """
    cost = book.price(
        make_call(
            "anthropic",
            "claude-sonnet-4-5-20250929",
            input_tokens=10_000,
            cache_read_tokens=4_000,
            cache_write_tokens=3_000,
            cache_write_1h_tokens=1_000,
            output_tokens=700,
        )
    )
    assert cost.input == Decimal(3_000) * Decimal(3) / M
    assert cost.cache_read == Decimal(4_000) * Decimal("0.30") / M
    assert cost.cache_write == Decimal(2_000) * Decimal("3.75") / M + Decimal(1_000) * Decimal(6) / M
    assert cost.output == Decimal(700) * Decimal(15) / M
    assert cost.total == Decimal("0.009") + Decimal("0.0012") + Decimal("0.0135") + Decimal("0.0105")


@pytest.mark.parametrize(("tokens", "input_price", "output_price"), [(200_000, "1.25", "10"), (200_001, "2.50", "15")])
def test_a_long_prompt_is_charged_wholly_at_the_higher_tier(book, make_call, tokens, input_price, output_price):
    """
    gemini-2.5-pro lists 1.25/10 up to 200,000 input tokens and 2.50/15 above, for all tokens of the call.
    """
    cost = book.price(make_call("gcp.gemini", "gemini-2.5-pro", input_tokens=tokens, output_tokens=100))
    assert cost.total == Decimal(tokens) * Decimal(input_price) / M + Decimal(100) * Decimal(output_price) / M


def test_cached_tokens_count_towards_the_tier(book, make_call):
    """
    claude-sonnet-4-5 goes from 3/0.30/15 to 6/0.60/22.50 once the whole input, cache reads included, passes 200,000.
    """
    cost = book.price(
        make_call("anthropic", "claude-sonnet-4-5", input_tokens=250_000, cache_read_tokens=150_000, output_tokens=100)
    )
    assert (
        cost.total
        == Decimal(100_000) * Decimal(6) / M
        + Decimal(150_000) * Decimal("0.60") / M
        + Decimal(100) * Decimal("22.50") / M
    )


@pytest.mark.parametrize(
    ("at", "input_price", "output_price"),
    [
        (datetime(2025, 6, 9, 23, 59, tzinfo=UTC), "10", "40"),
        (datetime(2025, 6, 10, tzinfo=UTC), "2", "8"),
    ],
)
def test_the_day_of_the_call_sets_the_price(book, make_call, at, input_price, output_price):
    """
    o3 went from 10/40 to 2/8 on 10 June 2025.
    """
    cost = book.price(make_call("openai", "o3", at=at, input_tokens=100, output_tokens=10))
    assert cost.total == Decimal(100) * Decimal(input_price) / M + Decimal(10) * Decimal(output_price) / M


@pytest.mark.parametrize(
    ("at", "input_price"),
    [(datetime(2025, 7, 1, 16, 29, tzinfo=UTC), "0.27"), (datetime(2025, 7, 1, 16, 31, tzinfo=UTC), "0.135")],
)
def test_the_hour_of_the_call_sets_the_price_off_peak(book, make_call, at, input_price):
    """
    deepseek-chat cost 0.27 by day and 0.135 from 16:30 UTC on.
    """
    cost = book.price(make_call("deepseek", "deepseek-chat", at=at, input_tokens=1000, output_tokens=0))
    assert cost.total == Decimal(1000) * Decimal(input_price) / M


def test_searches_are_charged_per_thousand(book, make_call):
    """
    Anthropic lists 10 USD per 1000 web searches, beside 3 and 15 for the tokens of claude-sonnet-4-5.
    """
    cost = book.price(make_call("anthropic", "claude-sonnet-4-5", input_tokens=100, output_tokens=10, web_searches=3))
    assert cost.tools == Decimal(3) * Decimal(10) / 1000
    assert cost.total == Decimal("0.03") + Decimal(100) * Decimal(3) / M + Decimal(10) * Decimal(15) / M


def test_embeddings_cost_their_input(book, make_call):
    """
    text-embedding-3-small lists 0.02 and has no output.
    """
    cost = book.price(make_call("openai", "text-embedding-3-small", operation="embeddings", input_tokens=1234))
    assert cost.total == Decimal(1234) * Decimal("0.02") / M


def test_bedrocks_regional_models_have_their_regional_price(book, make_call):
    """
    Bedrock asks ten per cent more for claude-sonnet-4-5 in a region: 3.30 and 16.50.
    """
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    cost = book.price(make_call("aws.bedrock", model, input_tokens=1000, output_tokens=100))
    assert cost.total == Decimal(1000) * Decimal("3.30") / M + Decimal(100) * Decimal("16.50") / M
