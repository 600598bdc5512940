"""
The genai-prices table behind rate cards.

Importing genai_prices takes half a second, so only `PriceBook.load` imports this file.
"""

import difflib
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from genai_prices import __version__ as genai_prices_version
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, Provider, TieredPrices

from otel_llm.pricing.card import EXACT, Band, RateCard, Unpriced
from otel_llm.pricing.providers import book_id
from otel_llm.pricing.units import UNITS

_UNNAMED: Final = frozenset({"litellm", "unknown"})
"""Providers that only hand on: the model's name tells whose it is."""
_ONE_PRICE: Final = frozenset({"google"})
"""Providers whose input and output price holds for every modality that has none of its own."""
_BASE: Final = -1


class Listing(NamedTuple):
    """
    A model of the book.
    """

    seller: Provider
    owner: Provider
    """Who lists it; Azure sells what OpenAI lists."""
    model: ModelInfo
    ref: str
    """The name under which it was looked up."""


class Table:
    """
    All published prices that genai-prices knows.
    """

    def __init__(self) -> None:
        snapshot = get_snapshot()
        self.version = f"genai-prices {genai_prices_version}"
        self._providers = snapshot.providers
        self._by_id = {provider.id: provider for provider in snapshot.providers}
        self._apart = {provider.id: _priced_apart(provider) for provider in snapshot.providers}

    def card(
        self, provider: str, models: tuple[str, ...], context: Mapping[str, str], at: datetime, factor: Decimal | None
    ) -> RateCard | Unpriced:
        """
        Make the rate card of the first of these models that the provider lists.
        """
        label = f"{provider}/{models[0]}"
        listing = next(self._listings(provider, models), None)
        if listing is None:
            return Unpriced(f"no price for {label}")
        for kind in context.items():
            if kind in self._apart[listing.owner.id] and not _has_variant(listing, kind, at):
                return Unpriced(f"no {kind[1]} price for {label}")
        bands = _bands(listing.model.get_prices(at, context)) or _free(listing)
        if not bands:
            return Unpriced(f"{label} is listed without a price")
        return RateCard(
            bands, label=label, source="book", version=self.version, factor=factor, separate=_separate(listing)
        )

    def provider_of(self, model: str) -> str | None:
        """
        Say which provider a model's name points to.
        """
        lower = model.lower()
        return next((p.id for p in self._providers if p.model_match and p.model_match.is_match(lower)), None)

    def nearest(self, provider: str, model: str) -> list[str]:
        """
        Give the listed model names that look most like this one.
        """
        listed = self._by_id.get(book_id(provider))
        sources = [listed] if listed else self._providers
        names = dict.fromkeys(entry.id for source in sources for entry in source.models)
        return difflib.get_close_matches(model.lower(), names, n=3)

    def _listings(self, provider: str, models: tuple[str, ...]) -> Iterator[Listing]:
        for ref in models:
            seller = self._seller(provider, ref)
            model = seller.find_model(ref, all_providers=self._providers) if seller else None
            if seller and model:
                yield Listing(seller, self._owner(model), model, ref.lower())

    def _owner(self, model: ModelInfo) -> Provider:
        return next(p for p in self._providers if any(entry is model for entry in p.models))

    def _seller(self, provider: str, ref: str) -> Provider | None:
        if provider in _UNNAMED:
            return self._by_id.get(self.provider_of(ref) or "")
        return self._by_id.get(book_id(provider))


def _priced_apart(provider: Provider) -> frozenset[tuple[str, str]]:
    """
    Give the kinds of call, such as `("service_tier", "flex")`, that have prices of their own at this provider.
    """
    variants = [
        variant for model in provider.models for variant in model.price_variants or () if _prices(variant.prices)
    ]
    return frozenset(kind for variant in variants for kind in variant.when.items())


def _has_variant(listing: Listing, kind: tuple[str, str], at: datetime) -> bool:
    # What Azure takes for a tier is not what OpenAI lists for it.
    own = listing.model.price_variants or () if listing.owner is listing.seller else ()
    return any(kind in variant.when.items() and _active(variant, at) for variant in own)


def _active(variant: PriceVariant, at: datetime) -> bool:
    return variant.constraint is None or variant.constraint.active(at)


def _prices(prices: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    return {key: price for key, price in vars(prices).items() if price is not None}


def _bands(prices: ModelPrice) -> list[Band]:
    listed = _prices(prices)
    starts = {tier.start for price in listed.values() if isinstance(price, TieredPrices) for tier in price.tiers}
    return [Band(start, _at(listed, start)) for start in (_BASE, *sorted(starts))] if listed else []


def _at(listed: Mapping[str, Decimal | TieredPrices], start: int) -> dict[str, Decimal]:
    return {
        unit.name: EXACT.divide(_tier_price(listed[unit.book], start), Decimal(unit.book_per))
        for unit in UNITS
        if unit.book in listed
    }


def _tier_price(price: Decimal | TieredPrices, start: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= start), price.base)


def _free(listing: Listing) -> list[Band]:
    """
    Give the price of a model that is free by name; without that, an empty listing means nobody knows.
    """
    nothing = Decimal(0)
    return [Band(_BASE, {"input": nothing, "output": nothing})] if listing.ref.endswith(":free") else []


def _separate(listing: Listing) -> list[str]:
    """
    Name the units that the price around them certainly does not cover.
    """
    if listing.owner.id in _ONE_PRICE:
        return []
    separate = ["audio_input"]
    if "tts" not in listing.model.id:
        separate.append("audio_output")
    if "image" not in listing.model.id:
        separate.append("image_output")
    return separate
