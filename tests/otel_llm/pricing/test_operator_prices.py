"""The operator's YAML: what it means, and how its mistakes are told."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.call import Usage
from otel_llm.pricing.operator import OperatorPrices

M = 1_000_000


def _read(section):
    prices, problems = OperatorPrices.read(section, "llm.yaml: pricing")
    assert not problems
    return prices


def _price(section, usage, provider="openai", model="m"):
    return _read(section).card(provider, [model]).price(usage)


class TestPrices:
    def test_every_part_has_its_own_price(self):
        """
        Each count is charged once, at the price of its own key.
        """
        listed = {
            "inputPer1M": 2,
            "cachedPer1M": 0.5,
            "cacheWritePer1M": 2.5,
            "cacheWrite1hPer1M": 4,
            "audioInputPer1M": 20,
            "outputPer1M": 8,
            "reasoningPer1M": 9,
            "audioOutputPer1M": 40,
            "webSearchPer1K": 5,
            "perRequest": 0.001,
        }
        usage = Usage(
            input_tokens=1500,
            cache_read_tokens=100,
            cache_write_tokens=300,
            cache_write_1h_tokens=200,
            audio_input_tokens=100,
            output_tokens=600,
            reasoning_tokens=50,
            audio_output_tokens=150,
            web_searches=2,
        )
        cost = _price({"models": {"m": listed}}, usage)
        assert cost.input == Decimal(1000) * 2 / M
        assert cost.cache_read == Decimal(100) * Decimal("0.5") / M
        assert cost.cache_write == Decimal(100) * Decimal("2.5") / M + Decimal(200) * 4 / M
        assert cost.audio == Decimal(100) * 20 / M + Decimal(150) * 40 / M
        assert cost.output == Decimal(400) * 8 / M
        assert cost.reasoning == Decimal(50) * 9 / M
        assert cost.tools == Decimal(2) * 5 / 1000
        assert cost.requests == Decimal("0.001")
        assert cost.total == sum((cost.input, cost.cache_read, cost.cache_write, cost.audio, cost.output)) + sum(
            (cost.reasoning, cost.tools, cost.requests)
        )

    def test_cached_tokens_without_a_price_cost_what_input_costs(self):
        """
        They are neither free nor charged twice.
        """
        cost = _price({"models": {"m": {"inputPer1M": 2}}}, Usage(input_tokens=1000, cache_read_tokens=900))
        assert cost.total == Decimal(1000) * 2 / M

    def test_cached_audio_without_a_price_is_charged_as_cached(self):
        """
        Tokens that are both cached and audio are counted once.
        """
        listed = {"inputPer1M": 2, "cachedPer1M": 1, "audioInputPer1M": 20}
        usage = Usage(input_tokens=1000, cache_read_tokens=300, audio_input_tokens=500, audio_cache_read_tokens=200)
        cost = _price({"models": {"m": listed}}, usage)
        assert cost.total == (Decimal(400) * 2 + Decimal(100) * 1 + Decimal(200) * 1 + Decimal(300) * 20) / M

    def test_output_without_a_price_is_unknown(self):
        """
        A model priced for input alone, such as an embedding, has no answer for output.
        """
        cost = _price({"models": {"m": {"inputPer1M": 2}}}, Usage(input_tokens=10, output_tokens=1))
        assert cost.unknown_reason == "no price for output of openai/m"

    def test_numbers_are_taken_as_written(self):
        """
        0.1 in the file is a tenth, not its binary neighbour; text is a number too.
        """
        usage = Usage(input_tokens=1)
        assert _price({"models": {"m": {"inputPer1M": 0.1}}}, usage).total == Decimal("0.0000001")
        assert _price({"models": {"m": {"inputPer1M": "0.1"}}}, usage).total == Decimal("0.0000001")


class TestTiers:
    TIERS = (
        {"maxInputTokens": 200_000, "inputPer1M": 3, "outputPer1M": 30},
        {"maxInputTokens": 1000, "inputPer1M": 1, "outputPer1M": 10},
    )

    @pytest.mark.parametrize(("tokens", "price"), [(1, 1), (1000, 1), (1001, 3), (200_000, 3), (5_000_000, 3)])
    def test_the_first_tier_that_is_large_enough_holds_for_all_tokens(self, tokens, price):
        """
        Tiers may stand in any order; beyond the last limit the last tier still holds.
        """
        cost = _price({"models": {"m": {"tiers": list(self.TIERS)}}}, Usage(input_tokens=tokens, output_tokens=7))
        assert cost.total == Decimal(tokens) * price / M + Decimal(7) * price * 10 / M

    def test_a_tier_inherits_what_it_does_not_say(self):
        """
        Prices beside `tiers` hold in every tier that has none of its own.
        """
        listed = {"inputPer1M": 1, "outputPer1M": 5, "tiers": [{"maxInputTokens": 10}, {"inputPer1M": 2}]}
        cost = _price({"models": {"m": listed}}, Usage(input_tokens=11, output_tokens=1))
        assert cost.total == Decimal(11) * 2 / M + Decimal(1) * 5 / M

    def test_reasoning_has_tiers_too(self):
        """
        No key is lost inside a tier.
        """
        listed = {"tiers": [{"inputPer1M": 1, "outputPer1M": 2, "reasoningPer1M": 3}]}
        cost = _price({"models": {"m": listed}}, Usage(input_tokens=0, output_tokens=10, reasoning_tokens=4))
        assert (cost.output, cost.reasoning) == (Decimal(6) * 2 / M, Decimal(4) * 3 / M)


class TestNames:
    @pytest.mark.parametrize(
        ("key", "provider", "model", "found"),
        [
            ("gpt-4o", "openai", "gpt-4o", True),
            ("GPT-4o", "openai", "gpt-4O", True),
            ("gpt-4o", "openai", "gpt-4o-mini", False),
            ("gpt-4o*", "openai", "gpt-4o-mini", True),
            ("azure-openai/gpt-4o", "azure.ai.openai", "gpt-4o", True),
            ("azure-openai/gpt-4o", "openai", "gpt-4o", False),
            ("xai/grok-*", "x_ai", "grok-4", True),
            ("meta-llama/llama-3", "openrouter", "meta-llama/llama-3", True),
            ("openrouter/mistral/m-1", "openrouter", "mistral/m-1", True),
            ("mistral/m-1", "openrouter", "mistral/m-1", True),
        ],
    )
    def test_a_key_names_a_model_or_a_providers_model_or_a_glob(self, key, provider, model, found):
        """
        Case does not matter, and providers may be spelled as people spell them.
        """
        prices = _read({"models": {key: {"inputPer1M": 1}}})
        assert (prices.card(provider, [model]) is not None) is found

    def test_the_closest_key_wins(self):
        """
        A provider's model comes before a model, a model before a glob, a glob before a later one.
        """
        models = {
            "*": {"inputPer1M": 4},
            "gpt-*": {"inputPer1M": 3},
            "gpt-4o": {"inputPer1M": 2},
            "azure/gpt-4o": {"inputPer1M": 1},
        }
        prices = _read({"models": models})
        asked = [("azure.ai.openai", "gpt-4o"), ("openai", "gpt-4o"), ("openai", "gpt-5"), ("openai", "o3")]
        costs = [prices.card(provider, [model]).price(Usage(input_tokens=M)).total for provider, model in asked]
        assert costs == [1, 2, 4, 4]


class TestMistakes:
    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ([], "llm.yaml: pricing: found a list, expected a mapping"),
            ({"modls": {}}, "llm.yaml: pricing.modls: found unknown key 'modls', expected one of"),
            ({"models": {"m": {"inputPerM": 1}}}, "(did you mean 'inputPer1M'?)"),
            (
                {"models": {"m": {"inputPer1M": -1}}},
                "pricing.models.m.inputPer1M: found -1, expected an amount in USD, 0 or more",
            ),
            ({"models": {"m": {"inputPer1M": "cheap"}}}, "pricing.models.m.inputPer1M: found 'cheap'"),
            ({"models": {"m": {"inputPer1M": True}}}, "pricing.models.m.inputPer1M: found True"),
            ({"models": {"m": {"inputPer1M": float("nan")}}}, "pricing.models.m.inputPer1M: found nan"),
            ({"models": {"m": 5}}, "pricing.models.m: found a number, expected a mapping"),
            ({"models": {"m": {}}}, "pricing.models.m: found no price, expected at least inputPer1M"),
            ({"models": {"m": {"tiers": {}}}}, "pricing.models.m.tiers: found a mapping, expected a list of tiers"),
            (
                {"models": {"m": {"tiers": [{"maxInputTokens": "x", "inputPer1M": 1}]}}},
                "pricing.models.m.tiers[0].maxInputTokens: found 'x', expected a whole number of tokens",
            ),
            (
                {"models": {"m": {"tiers": [{"maxInputTokens": 5, "inputPer1M": 1}] * 2}}},
                "pricing.models.m.tiers[1]: found a second tier with this maxInputTokens",
            ),
            ({"discounts": {"openai": 0}}, "pricing.discounts.openai: found 0, expected a number above 0 and up to 1"),
            ({"discounts": {"openai": 1.5}}, "pricing.discounts.openai: found 1.5"),
            ({"discounts": {"azure-opnai": 0.5}}, "(did you mean 'azure-openai'?)"),
            ({"fallback": "yes"}, "pricing.fallback: found text, expected a mapping"),
        ],
    )
    def test_a_mistake_says_where_what_and_what_else(self, section, message):
        """
        One line a person can act on.
        """
        _, problems = OperatorPrices.read(section, "llm.yaml: pricing")
        assert message in str(problems[0])

    def test_all_mistakes_are_told_and_the_rest_works(self):
        """
        A broken model does not take the others with it.
        """
        section = {
            "models": {"good": {"inputPer1M": 1}, "bad": {"inputPer1M": -1}, "worse": None},
            "discounts": {"openai": 2, "acme": 0.5},
        }
        prices, problems = OperatorPrices.read(section, "pricing")
        assert [problem.where for problem in problems] == [
            "pricing.models.bad.inputPer1M",
            "pricing.models.worse",
            "pricing.discounts.openai",
        ]
        assert (set(prices.models), prices.discounts) == ({"good"}, {"acme": Decimal("0.5")})

    def test_a_provider_nobody_knows_may_have_a_discount(self):
        """
        Only a name that looks like a slip of the pen is questioned.
        """
        assert _read({"discounts": {"acme": 0.5, "grok": 1}}).discounts == {"acme": Decimal("0.5"), "x_ai": Decimal(1)}


_keys = st.sampled_from(["models", "discounts", "fallback", "tiers", "maxInputTokens", "inputPer1M", "m", "", "a/b"])
_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(section=st.dictionaries(_keys, _anything) | _anything)
def test_no_section_is_too_wrong_to_be_read(section):
    """
    Whatever stands in the file, it gives prices and problems, never an exception.
    """
    prices, problems = OperatorPrices.read(section, "pricing")
    assert all(0 < factor <= 1 for factor in prices.discounts.values())
    assert all(str(problem) for problem in problems)


class TestFile:
    @pytest.mark.parametrize("text", ["models: {m: {inputPer1M: 2}}", "pricing: {models: {m: {inputPer1M: 2}}}"])
    def test_a_file_holds_the_prices_or_has_them_under_pricing(self, tmp_path, text):
        """
        The settings file itself may be named as the price file.
        """
        path = tmp_path / "prices.yaml"
        path.write_text(text)
        prices, problems = OperatorPrices.read_file(path)
        assert not problems
        assert prices.card("openai", ["m"]).price(Usage(input_tokens=M)).total == 2

    @pytest.mark.parametrize("text", [None, "models: [", "\x00"])
    def test_an_unreadable_file_is_one_problem(self, tmp_path, text):
        """
        Missing, broken or binary: no exception, no prices.
        """
        path = tmp_path / "prices.yaml"
        if text is not None:
            path.write_text(text)
        prices, problems = OperatorPrices.read_file(path)
        assert (len(problems), prices) == (1, OperatorPrices())

    def test_an_empty_file_has_no_prices(self, tmp_path):
        """
        Nothing said is nothing wrong.
        """
        path = tmp_path / "prices.yaml"
        path.write_text("# nothing yet\n")
        assert OperatorPrices.read_file(path) == (OperatorPrices(), [])
