"""Who sets the price, what unknown means, and when the book is there."""

import decimal
import os
import sys
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.call import Parameters, ResponseCache, Usage
from otel_llm.pricing.book import PriceBook
from otel_llm.pricing.cost import Cost
from otel_llm.pricing.operator import OperatorPrices

M = 1_000_000


def _book(**section):
    operator, problems = OperatorPrices.read(section, "pricing")
    assert not problems
    book = PriceBook(operator)
    book.load()
    return book


def _wait_for_loading():
    for thread in threading.enumerate():
        if thread.name == "otel-llm-prices":
            thread.join(30)


_PARTS = ("input", "output", "cache_read", "cache_write", "reasoning", "audio", "image", "tools", "requests")
_DISCOUNTED = {factor: _book(discounts={"unknown": factor} if factor else {}) for factor in (None, "0.85", "1")}


class TestOrder:
    def test_what_the_provider_reports_comes_first(self, make_call):
        """
        A cost in the provider's own answer is taken as it is: no table, no discount, no parts.
        """
        book = _book(models={"gpt-4o": {"inputPer1M": 1}}, discounts={"openrouter": 0.5})
        call = make_call("openrouter", "gpt-4o", input_tokens=10, output_tokens=1, reported_cost=Decimal("0.0123"))
        assert book.price(call) == Cost(total=Decimal("0.0123"), source="provider")

    def test_the_operator_comes_before_the_book(self, make_call):
        """
        A model the operator prices has that price even if the book lists it.
        """
        book = _book(models={"gpt-4o": {"inputPer1M": 2, "outputPer1M": 7}}, version="2026-11")
        cost = book.price(make_call("openai", "gpt-4o", input_tokens=100, output_tokens=10))
        assert cost.total == Decimal(100) * 2 / M + Decimal(10) * 7 / M
        assert (cost.source, cost.price_version) == ("operator", "2026-11")

    def test_the_answering_model_comes_before_the_requested_one(self, book, make_call):
        """
        A deployment called `mine` is priced as the model that answered.
        """
        call = make_call("azure.ai.openai", "gpt-4o", request_model="mine", input_tokens=100, output_tokens=0)
        assert book.price(call).total == Decimal(100) * Decimal("2.50") / M

    def test_the_requested_model_stands_in_for_an_unlisted_answering_one(self, book, make_call):
        """
        An answer that names an unlisted snapshot is priced as the model asked for.
        """
        call = make_call("openai", "gpt-4o", response_model="gpt-4o-private", input_tokens=100, output_tokens=0)
        assert book.price(call).total == Decimal(100) * Decimal("2.50") / M

    def test_the_answering_tier_comes_before_the_requested_one(self, book, make_call):
        """
        A priority request that was answered by the default tier costs what the default tier costs.
        """
        asked = Parameters(service_tier="priority")
        counts = Usage(input_tokens=100, output_tokens=0)
        downgraded = make_call("openai", "gpt-5", parameters=asked, service_tier="default", usage=counts)
        silent = make_call("openai", "gpt-5", parameters=asked, usage=counts)
        assert book.price(downgraded).total == Decimal(100) * Decimal("1.25") / M
        assert book.price(silent).total == Decimal(100) * Decimal("2.50") / M

    def test_the_estimate_is_for_what_nobody_lists(self, make_call):
        """
        With `fallback: true` an unlisted model costs 1.00, 3.00, 0.50 cached and 2.00 reasoning per million.
        """
        counts = {"input_tokens": 1000, "cache_read_tokens": 100, "output_tokens": 500, "reasoning_tokens": 200}
        cost = _book(fallback=True).price(make_call("openai", "acme-1", **counts))
        assert (
            cost.total == (Decimal(900) * 1 + Decimal(100) * Decimal("0.5") + Decimal(300) * 3 + Decimal(200) * 2) / M
        )
        assert cost.source == "estimate"

    def test_the_estimate_does_not_answer_for_a_listed_model(self, make_call):
        """
        The book comes before the estimate.
        """
        cost = _book(fallback=True).price(make_call("openai", "gpt-4o", input_tokens=100, output_tokens=0))
        assert (cost.total, cost.source) == (Decimal(100) * Decimal("2.50") / M, "book")

    def test_where_the_estimate_has_no_answer_either_the_books_reason_stands(self, make_call):
        """
        Searches have no fallback price; what is missing first is the model's price.
        """
        call = make_call("openai", "acme-1", input_tokens=1, output_tokens=1, web_searches=1)
        assert _book(fallback=True).price(call) == Cost.unknown("no price for openai/acme-1")


class TestDiscount:
    @pytest.mark.parametrize(
        ("section", "price"),
        [
            ({}, "2.50"),
            ({"models": {"gpt-4o": {"inputPer1M": 2, "outputPer1M": 8}}}, "2"),
        ],
    )
    def test_a_discount_of_085_means_that_85_percent_are_paid(self, make_call, section, price):
        """
        The factor holds for the operator's prices and the book's; the parts still add up to the total.
        """
        book = _book(discounts={"azure-openai": 0.85}, **section)
        cost = book.price(make_call("azure.ai.openai", "gpt-4o", input_tokens=1000, output_tokens=0))
        assert cost.total == cost.input == Decimal(1000) * Decimal(price) / M * Decimal("0.85")
        assert cost.discount == Decimal(1000) * Decimal(price) / M * Decimal("0.15")
        assert cost.discount_factor == Decimal("0.85")

    def test_an_estimate_is_discounted_too(self, make_call):
        """
        85 % of one dollar per million input tokens.
        """
        book = _book(discounts={"openai": 0.85}, fallback=True)
        assert book.price(make_call("openai", "x", input_tokens=1000, output_tokens=0)).total == Decimal("0.00085")

    def test_another_providers_calls_pay_the_full_price(self, make_call):
        """
        A discount at Azure does not lower OpenAI's own price.
        """
        book = _book(discounts={"azure": 0.85})
        cost = book.price(make_call("openai", "gpt-4o", input_tokens=1000, output_tokens=0))
        assert (cost.total, cost.discount) == (Decimal("0.0025"), None)


class TestUnknown:
    @pytest.mark.parametrize(
        ("provider", "model", "facts", "reason"),
        [
            ("openai", "acme-1", {}, "no price for openai/acme-1"),
            ("acme", "x1", {}, "no price for acme/x1"),
            ("ollama", "deepseek-r1", {}, "no price for ollama/deepseek-r1"),
            ("openai", None, {}, "no model"),
            ("openai", "gpt-4o", {"input_tokens": None, "output_tokens": None}, "usage absent"),
            ("openai", "gpt-4o", {"input_tokens": None}, "input tokens absent"),
            ("openai", "gpt-4o", {"output_tokens": None}, "output tokens absent"),
            ("openai", "gpt-4o", {"service_tier": "flex"}, "no flex price for openai/gpt-4o"),
            ("azure.ai.openai", "gpt-5", {"service_tier": "flex"}, "no flex price for azure.ai.openai/gpt-5"),
            ("openai", "gpt-4o", {"audio_input_tokens": 5}, "no price for audio input of openai/gpt-4o"),
            ("openai", "gpt-4o", {"audio_output_tokens": 5}, "no price for audio output of openai/gpt-4o"),
            ("openai", "whisper-1", {}, "no price for input of openai/whisper-1"),
            ("groq", "openai/gpt-oss-20b", {"web_searches": 1}, "no price for web search of groq/openai/gpt-oss-20b"),
            ("openai", "omni-moderation-latest", {}, "openai/omni-moderation-latest is listed without a price"),
            (
                "openai",
                "gpt-4o",
                {"cache_read_tokens": 11},
                "usage contradicts itself: input_tokens is less than what it includes",
            ),
        ],
    )
    def test_an_unknown_cost_says_why(self, book, make_call, provider, model, facts, reason):
        """
        What cannot be priced is not free: it has no total and one reason.
        """
        call = make_call(provider, model, **{"input_tokens": 10, "output_tokens": 10, **facts})
        assert book.price(call) == Cost.unknown(reason)

    def test_a_model_free_by_name_costs_nothing(self, book, make_call):
        """
        OpenRouter's `:free` models are known to be free.
        """
        cost = book.price(make_call("openrouter", "deepseek/deepseek-r1:free", input_tokens=10, output_tokens=10))
        assert (cost.total, cost.source) == (0, "book")

    def test_a_cancelled_stream_costs_what_it_had_used(self, book, make_call):
        """
        The input of an abandoned stream is charged even if its output was never told.
        """
        cost = book.price(make_call("anthropic", "claude-sonnet-4-5", status="cancelled", input_tokens=100))
        assert cost.total == Decimal(100) * 3 / M

    def test_absent_counts_have_no_part_and_zero_counts_have_a_part_of_zero(self, book, make_call):
        """
        Absent is None and a reported 0 stays 0, in the parts as in the counts.
        """
        absent = book.price(make_call("openai", "gpt-4o", input_tokens=10, output_tokens=10))
        zero = book.price(make_call("openai", "gpt-4o", input_tokens=10, output_tokens=10, cache_read_tokens=0))
        assert (absent.cache_read, zero.cache_read) == (None, 0)

    def test_gemini_audio_without_a_price_of_its_own_is_input(self, book, make_call):
        """
        Google lists one price for all modalities where it lists none for audio: 1.25 for gemini-2.5-pro.
        """
        call = make_call("gcp.gemini", "gemini-2.5-pro", input_tokens=100, audio_input_tokens=60, output_tokens=0)
        assert book.price(call).total == Decimal(100) * Decimal("1.25") / M


class TestFetch:
    def test_a_fetched_response_carries_no_cost(self, book, make_call):
        """
        Whoever created the response paid for it.
        """
        call = make_call("openai", "gpt-4o", operation="fetch_response", input_tokens=10, output_tokens=10)
        assert book.price(call) == Cost.unknown("fetch carries no cost")

    def test_the_fetch_that_first_sees_a_background_response_finished_carries_it(self, book, make_call):
        """
        The caller says which fetch that is.
        """
        call = make_call("openai", "gpt-4o", operation="fetch_response", input_tokens=10, output_tokens=0)
        assert book.price(call, fetched=True).total == Decimal(10) * Decimal("2.50") / M


class TestResponseCache:
    def test_a_direct_hit_is_free(self, book, make_call):
        """
        Nobody was asked, whatever usage the cached answer repeats.
        """
        call = make_call("openai", "gpt-4o", input_tokens=10, cache=ResponseCache(hit=True, type="direct"))
        assert book.price(call) == Cost(total=Decimal(0), source="provider")

    def test_a_semantic_hit_costs_its_embedding(self, book, make_call):
        """
        text-embedding-3-small lists 0.02.
        """
        cache = ResponseCache(
            hit=True,
            type="semantic",
            embedding_provider="openai",
            embedding_model="text-embedding-3-small",
            embedding_input_tokens=500,
        )
        cost = book.price(make_call("openai", "gpt-4o", input_tokens=10, output_tokens=10, cache=cache))
        assert cost.total == cost.embedding == Decimal(500) * Decimal("0.02") / M

    def test_a_semantic_hit_that_tells_no_tokens_is_unknown(self, book, make_call):
        """
        An embedding was made, so the hit was not free.
        """
        call = make_call("openai", "gpt-4o", cache=ResponseCache(hit=True, type="semantic"))
        assert book.price(call) == Cost.unknown("embedding tokens absent")

    def test_a_miss_costs_the_call_and_the_embedding(self, book, make_call):
        """
        The look-up was made in vain and is paid for all the same.
        """
        cache = ResponseCache(hit=False, embedding_model="text-embedding-3-small", embedding_input_tokens=500)
        cost = book.price(make_call("openai", "gpt-4o", input_tokens=10, output_tokens=0, cache=cache))
        assert cost.total == Decimal(10) * Decimal("2.50") / M + Decimal(500) * Decimal("0.02") / M
        assert cost.embedding == Decimal(500) * Decimal("0.02") / M


class TestLoading:
    def test_until_it_is_loaded_the_book_says_so(self, make_call):
        """
        The exact reason lets a courier price the record later.
        """
        call = make_call("openai", "gpt-4o", input_tokens=10, output_tokens=10)
        assert PriceBook().price(call) == Cost.unknown("book_loading")

    def test_an_estimate_does_not_stand_in_for_a_book_that_is_loading(self, make_call):
        """
        A listed model must not get an estimated price because it was early.
        """
        operator, _ = OperatorPrices.read({"fallback": True}, "pricing")
        call = make_call("openai", "gpt-4o", input_tokens=10, output_tokens=10)
        assert PriceBook(operator).price(call) == Cost.unknown("book_loading")

    def test_operator_prices_need_no_book(self, make_call):
        """
        What the operator wrote down is known at once.
        """
        operator, _ = OperatorPrices.read({"models": {"gpt-4o": {"inputPer1M": 2}}}, "pricing")
        cost = PriceBook(operator).price(make_call("openai", "gpt-4o", input_tokens=10, output_tokens=0))
        assert cost.total == Decimal(10) * 2 / M

    def test_loading_in_the_background_makes_it_ready(self, make_call):
        """
        Asked twice it starts one thread, and a call priced early is priced anew afterwards.
        """
        book = PriceBook()
        call = make_call("openai", "gpt-4o", input_tokens=10, output_tokens=0)
        book.price(call)
        book.load_in_background()
        book.load_in_background()
        assert sum(thread.name == "otel-llm-prices" for thread in threading.enumerate()) <= 1
        _wait_for_loading()
        assert book.ready
        assert book.price(call).total == Decimal(10) * Decimal("2.50") / M

    def test_a_table_that_cannot_be_imported_is_said_once(self, make_call, monkeypatch, caplog):
        """
        Calls are then unpriced for good, with another reason than while it loads.
        """
        monkeypatch.setitem(sys.modules, "otel_llm.pricing.table", None)
        book = PriceBook()
        book.load_in_background()
        _wait_for_loading()
        call = make_call("openai", "gpt-4o", input_tokens=10, output_tokens=0)
        assert book.price(call) == Cost.unknown("price table unavailable")
        assert len(caplog.records) == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_fork_waits_until_the_table_is_imported(self):
        """
        A child never inherits a half-imported module whose lock nobody holds any more.
        """
        book = PriceBook()
        book.load_in_background()
        child = os.fork()
        if child == 0:
            os._exit(0 if book.ready else 1)
        assert os.waitpid(child, 0)[1] == 0


_count = st.none() | st.integers(0, 1000)


class TestArithmetic:
    @given(
        counts=st.fixed_dictionaries(dict.fromkeys(Usage.__struct_fields__, _count)),
        model=st.sampled_from(["gpt-4o", "gpt-realtime", "claude-sonnet-4-5", "gemini-2.5-flash", "acme"]),
        factor=st.sampled_from([None, "0.85", "1"]),
    )
    def test_any_counts_give_a_sum_of_parts_or_a_reason(self, make_call, counts, model, factor):
        """
        However wild the counts, nothing raises and no part is negative; a known total is exactly the sum of its parts.
        """
        book = _DISCOUNTED[factor]
        cost = book.price(make_call("unknown", model, usage=Usage(**counts)))
        parts = [getattr(cost, part) for part in _PARTS]
        known = [part for part in parts if part is not None]
        assert (cost.total is None) == (cost.unknown_reason is not None)
        assert all(part >= 0 for part in known)
        assert cost.total is None or cost.total == sum(known, Decimal(0))

    def test_the_applications_decimal_context_does_not_matter(self, book, make_call):
        """
        A thread that counts with three digits and traps inexact results still gets exact costs.
        """
        call = make_call("openai", "gpt-4o", input_tokens=123_457, output_tokens=98_765)
        with decimal.localcontext(decimal.Context(prec=3, traps=[decimal.Inexact])):
            total = book.price(call).total
        assert total == Decimal(123_457) * Decimal("2.50") / M + Decimal(98_765) * Decimal(10) / M
