"""
The price book: puts a cost on a call.

What the provider itself reports comes first, then the operator's prices, then genai-prices, then an estimate if the
operator asked for one. The table loads in a background thread; a rate card is made once for each kind of call.
"""

import logging
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from msgspec.structs import replace

from otel_llm.call import Call, ResponseCache, Usage
from otel_llm.pricing.card import EXACT, RateCard, Unpriced
from otel_llm.pricing.cost import Cost
from otel_llm.pricing.operator import OperatorPrices
from otel_llm.pricing.providers import canonical

if TYPE_CHECKING:
    from otel_llm.pricing.table import Table

_log = logging.getLogger(__name__)

BOOK_LOADING: Final = "book_loading"
"""Why a call is unpriced that ended before the table was there; it can be priced later."""

_LOADING: Final = Cost.unknown(BOOK_LOADING)
_FETCH: Final = Cost.unknown("fetch carries no cost")
_NOT_ASKED: Final = Cost(total=Decimal(0), source="provider")
"""A direct hit in a response cache: the provider bills nothing."""
_NO_EMBEDDING: Final = Cost.unknown("embedding tokens absent")
_NO_TOKENS: Final = Cost.unknown("usage absent")
_NO_INPUT: Final = Cost.unknown("input tokens absent")
_NO_OUTPUT: Final = Cost.unknown("output tokens absent")

_WRITES: Final = frozenset({"chat", "generate_content", "text_completion"})
"""Operations that always have output."""
_BASE_TIERS: Final = frozenset({"auto", "default", "on_demand", "standard"})
_QUARTER_HOUR_NS: Final = 900_000_000_000
"""Off-peak prices begin and end on the quarter hour, dated ones at midnight."""
_MOST_CARDS: Final = 4096
_LONGEST_WAIT: Final = 10.0

_Cards = tuple[RateCard | Unpriced, ...]
_Key = tuple[str, str | None, str | None, str | None, str | None, int]


class PriceBook:
    """
    All prices in force: the operator's and, once loaded, those of genai-prices.
    """

    def __init__(self, operator: OperatorPrices | None = None) -> None:
        self._operator = operator or OperatorPrices()
        self._table: Table | None = None
        self._thread: threading.Thread | None = None
        self._unavailable = False
        self._cards: dict[_Key, _Cards] = {}

    @property
    def ready(self) -> bool:
        """Whether the table is loaded."""
        return self._table is not None

    def load(self) -> "Table":
        """
        Load the table, or wait until it is.
        """
        if self._table is None:
            from otel_llm.pricing.table import Table

            self._table = Table()
        return self._table

    def load_in_background(self) -> None:
        """
        Load the table without waiting; more calls than one do no harm.
        """
        if self.ready or (self._thread and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self.ensure, name="otel-llm-prices", daemon=True)
        _threads.add(self._thread)
        self._thread.start()

    def ensure(self) -> None:
        """
        Load the table unless that has been done; where it cannot be loaded, say so and leave calls unpriced.
        """
        if self._unavailable:
            return
        try:
            self.load()
        except ImportError as error:
            self._unavailable = True
            _log.warning("calls stay unpriced, genai-prices cannot be imported: %s", error)

    def price(self, call: Call, *, fetched: bool = False) -> Cost:
        """
        Price one call; `fetched` says that this fetch is the one that carries its response's cost.
        """
        if call.operation == "fetch_response" and not fetched:
            return _FETCH
        cache = call.cache
        if cache is None or (not cache.hit and not cache.embedding_input_tokens):
            return self._price_model(call)
        look_up = self._price_look_up(call, cache)
        return look_up if cache.hit else _together(self._price_model(call), look_up)

    def _price_model(self, call: Call) -> Cost:
        if call.reported_cost is not None:
            return Cost(total=call.reported_cost, source="provider")
        usage = call.usage
        if usage.input_tokens is None:
            return _NO_TOKENS if usage.output_tokens is None else _NO_INPUT
        if usage.output_tokens is None and call.status == "success" and call.operation in _WRITES:
            return _NO_OUTPUT
        tier = call.service_tier or call.parameters.service_tier
        quarter = call.started_ns // _QUARTER_HOUR_NS
        return self._first(
            usage, (call.provider, call.response_model, call.request_model, tier, call.processing, quarter)
        )

    def _price_look_up(self, call: Call, cache: ResponseCache) -> Cost:
        """
        Price what a response cache did: a direct hit is free, a semantic one needed an embedding.
        """
        if cache.embedding_input_tokens is None:
            return _NO_EMBEDDING if cache.type == "semantic" else _NOT_ASKED
        usage = Usage(input_tokens=cache.embedding_input_tokens)
        provider = cache.embedding_provider or call.provider
        quarter = call.started_ns // _QUARTER_HOUR_NS
        return _as_embedding(self._first(usage, (provider, cache.embedding_model, None, None, None, quarter)))

    def _first(self, usage: Usage, key: _Key) -> Cost:
        """
        Give the first cost that is known, else the first reason.
        """
        cards = self._cards.get(key) or self._find(key)
        if not cards:
            return _LOADING
        cost = cards[0].price(usage)
        if cost.total is not None or len(cards) == 1:
            return cost
        estimate = cards[1].price(usage)
        return cost if estimate.total is None else estimate

    def _find(self, key: _Key) -> _Cards:
        cards = self._make(key)
        if len(self._cards) >= _MOST_CARDS:
            self._cards.clear()
        if cards:
            self._cards[key] = cards
        return cards

    def _make(self, key: _Key) -> _Cards:
        name, response_model, request_model, *_ = key
        provider = canonical(name)
        models = tuple(model for model in dict.fromkeys((response_model, request_model)) if model)
        card = self._operator.card(provider, models)
        if card:
            return (card,)
        listed = self._listed(provider, models, key)
        if listed is None:
            return ()
        estimate = self._operator.estimate(provider, models[0] if models else "unknown")
        return (listed, estimate) if estimate else (listed,)

    def _listed(self, provider: str, models: tuple[str, ...], key: _Key) -> RateCard | Unpriced | None:
        if not models:
            return Unpriced("no model")
        if self._table is None:
            return Unpriced("price table unavailable") if self._unavailable else None
        *_, tier, processing, quarter = key
        at = datetime.fromtimestamp(quarter * _QUARTER_HOUR_NS // 1_000_000_000, UTC)
        factor = self._operator.discounts.get(provider)
        return self._table.card(provider, models, _context(tier, processing), at, factor)


def _context(tier: str | None, processing: str | None) -> Mapping[str, str]:
    """
    Say in genai-prices' words what kind of call it was.
    """
    if tier == "batch":  # Anthropic calls a batch a service tier.
        return {"processing": tier}
    context = {} if tier is None or tier in _BASE_TIERS else {"service_tier": tier, "speed": tier}
    return {**context, "processing": processing} if processing else context


def _as_embedding(cost: Cost) -> Cost:
    return Cost(
        total=cost.total,
        source=cost.source,
        embedding=cost.total,
        discount=cost.discount,
        discount_factor=cost.discount_factor,
        price_version=cost.price_version,
        unknown_reason=cost.unknown_reason,
    )


def _together(model: Cost, look_up: Cost) -> Cost:
    """
    Add the embedding that a semantic cache tried in vain.
    """
    if model.total is None:
        return model
    if look_up.total is None:
        return look_up
    taken_off = [cost.discount for cost in (model, look_up) if cost.discount is not None]
    return replace(
        model,
        total=EXACT.add(model.total, look_up.total),
        embedding=look_up.total,
        discount=reduce(EXACT.add, taken_off) if taken_off else None,
    )


_threads: WeakSet[threading.Thread] = WeakSet()


def wait_for_loading() -> None:
    """
    Wait until no thread loads a price book, but not for ever.
    """
    for thread in list(_threads):
        thread.join(_LONGEST_WAIT)


if hasattr(os, "register_at_fork"):
    # A child forked in the middle of an import would wait for ever for that module's lock.
    os.register_at_fork(before=wait_for_loading)
