"""
Prices that the operator sets: read from YAML, in the words of its file.

Amounts are USD per million tokens (`inputPer1M`), per thousand searches (`webSearchPer1K`) or per request
(`perRequest`). A discount of 0.85 means: 85 % are paid.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from otel_llm.errors import Problem
from otel_llm.pricing.card import EXACT, Band, RateCard
from otel_llm.pricing.providers import SPELLINGS, canonical, is_known
from otel_llm.pricing.units import UNITS

_OPTIONS: Final = {unit.option: unit for unit in UNITS}
_SECTIONS: Final = ("models", "discounts", "fallback", "version")
_SEED_FALLBACK: Final = {"inputPer1M": "1.0", "outputPer1M": "3.0", "cachedPer1M": "0.5", "reasoningPer1M": "2.0"}
_SHAPES: Final = {"list": "a list", "dict": "a mapping", "str": "text", "int": "a number", "float": "a number"}
_BASE: Final = -1
_ALIKE: Final = 0.8
"""How much an unknown provider's name must look like a known one to be taken for a slip of the pen."""

Bands = tuple[Band, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPrices:
    """
    The section `pricing` of the settings, or the file named by `OTEL_LLM_PRICES`.
    """

    models: Mapping[str, Bands] = field(default_factory=dict)
    """By lower-case model name, `provider/model`, or a glob of either."""
    discounts: Mapping[str, Decimal] = field(default_factory=dict)
    """What part of the price is paid, by canonical provider name."""
    fallback: Bands | None = None
    """Prices for models that nobody lists."""
    version: str | None = None

    @classmethod
    def read(cls, section: object, where: str) -> tuple["OperatorPrices", list[Problem]]:
        """
        Read what is right and report all that is wrong; a model with a mistake is left out.
        """
        reader = _Reader()
        sections = reader.mapping(section, where, _SECTIONS)
        version = sections.get("version")
        prices = cls(
            models=reader.models(sections.get("models"), _join(where, "models")),
            discounts=reader.discounts(sections.get("discounts"), _join(where, "discounts")),
            fallback=reader.fallback(sections.get("fallback"), _join(where, "fallback")),
            version=None if version is None else str(version),
        )
        return prices, reader.problems

    @classmethod
    def read_file(cls, path: Path) -> tuple["OperatorPrices", list[Problem]]:
        """
        Read a YAML file that holds the prices themselves or has them under `pricing`.
        """
        import yaml

        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            return cls(), [Problem(str(path), type(error).__name__, "a readable YAML file with prices")]
        if isinstance(document, Mapping) and "pricing" in document:
            return cls.read(document["pricing"], f"{path}: pricing")
        return cls.read(document, f"{path}:")

    def card(self, provider: str, models: Sequence[str]) -> RateCard | None:
        """
        Make the rate card of the first of these models that the operator prices.
        """
        for model in models:
            bands = self._bands(provider, model.lower())
            if bands:
                return self._card(bands, provider, model, estimate=False)
        return None

    def estimate(self, provider: str, model: str) -> RateCard | None:
        """
        Make the rate card for what nobody lists; None unless the operator asked for estimates.
        """
        return self._card(self.fallback, provider, model, estimate=True) if self.fallback else None

    def _card(self, bands: Bands, provider: str, model: str, *, estimate: bool) -> RateCard:
        return RateCard(
            bands,
            label=f"{provider}/{model}",
            source="estimate" if estimate else "operator",
            version=self.version,
            factor=self.discounts.get(provider),
        )

    def _bands(self, provider: str, model: str) -> Bands | None:
        names = (f"{provider}/{model}", model)
        for name in names:
            if name in self.models:
                return self.models[name]
        globs = (bands for name in names for key, bands in self.models.items() if fnmatchcase(name, key))
        return next(globs, None)


class _Reader:
    """Reads section by section and gathers the problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def models(self, found: object, where: str) -> dict[str, Bands]:
        models: dict[str, Bands] = {}
        for key, prices in self.mapping(found, where).items():
            bands = self.bands(prices, _join(where, key))
            models.update(dict.fromkeys(_spellings(key.lower()), bands) if bands else {})
        return models

    def discounts(self, found: object, where: str) -> dict[str, Decimal]:
        discounts: dict[str, Decimal] = {}
        for name, value in self.mapping(found, where).items():
            factor = self.number(value, _join(where, name), "a number above 0 and up to 1 (0.85 = pay 85 %)", most=1)
            if self._is_provider(name, where) and factor is not None:
                discounts[canonical(name)] = factor
        return discounts

    def fallback(self, found: object, where: str) -> Bands | None:
        if found is None or found is False:
            return None
        return self.bands(_SEED_FALLBACK if found is True else found, where)

    def bands(self, found: object, where: str) -> Bands | None:
        before = len(self.problems)
        options = self.mapping(found, where, (*_OPTIONS, "tiers"))
        prices = self.prices(options, where)
        bands = self.tiers(options["tiers"], prices, _join(where, "tiers")) if "tiers" in options else _whole(prices)
        if len(self.problems) > before:
            return None
        if not any(band.prices for band in bands):
            self.problems.append(Problem(where, "no price", "at least inputPer1M"))
            return None
        return bands

    def tiers(self, found: object, prices: Mapping[str, Decimal], where: str) -> Bands:
        """
        Read tiers in any order; the last one also holds beyond its own limit.
        """
        if not isinstance(found, list) or not found:
            self.problems.append(Problem(where, _shape(found), "a list of tiers"))
            return ()
        tiers: dict[float, dict[str, Decimal]] = {}
        for position, entry in enumerate(found):
            at = f"{where}[{position}]"
            options = self.mapping(entry, at, (*_OPTIONS, "maxInputTokens"))
            limit = self.limit(options.get("maxInputTokens"), at)
            if limit in tiers:
                self.problems.append(Problem(at, "a second tier with this maxInputTokens", "one tier for each limit"))
            tiers[limit] = {**prices, **self.prices(options, at)}
        limits = sorted(tiers)
        starts = (_BASE, *(int(limit) for limit in limits[:-1]))
        return tuple(Band(start, _whole(tiers[limit])[0].prices) for start, limit in zip(starts, limits, strict=True))

    def limit(self, found: object, where: str) -> float:
        if found is None:
            return float("inf")
        if isinstance(found, int) and not isinstance(found, bool) and found > 0:
            return found
        self.problems.append(Problem(_join(where, "maxInputTokens"), repr(found), "a whole number of tokens"))
        return float("inf")

    def prices(self, options: Mapping[str, object], where: str) -> dict[str, Decimal]:
        prices: dict[str, Decimal] = {}
        for option, unit in _OPTIONS.items():
            if option not in options:
                continue
            price = self.number(options[option], _join(where, option), "an amount in USD, 0 or more")
            if price is not None:
                prices[unit.name] = EXACT.divide(price, Decimal(unit.per))
        return prices

    def number(self, found: object, where: str, expected: str, most: int | None = None) -> Decimal | None:
        value = _decimal(found)
        low = value is None or value < 0 or (most is not None and value == 0)
        if value is None or low or (most is not None and value > most):
            self.problems.append(Problem(where, repr(found), expected))
            return None
        return value

    def mapping(self, found: object, where: str, known: Collection[str] | None = None) -> dict[str, object]:
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            self.problems.append(Problem(where, _shape(found), "a mapping"))
            return {}
        entries = {str(key): value for key, value in found.items()}
        if known is not None:
            self.problems.extend(_unknown_keys(entries, where, known))
        return entries

    def _is_provider(self, name: str, where: str) -> bool:
        if is_known(name):
            return True
        nearest = difflib.get_close_matches(name.lower(), sorted(SPELLINGS), n=1, cutoff=_ALIKE)
        if nearest:
            self.problems.append(Problem(_join(where, name), repr(name), "a provider's name", nearest[0]))
        return not nearest


def _unknown_keys(entries: Mapping[str, object], where: str, known: Collection[str]) -> Iterator[Problem]:
    by_lower = {name.lower(): name for name in known}
    for key in entries.keys() - set(known):
        nearest = difflib.get_close_matches(key.lower(), by_lower, n=1)
        name = by_lower[nearest[0]] if nearest else None
        yield Problem(_join(where, key), f"unknown key {key!r}", f"one of {', '.join(known)}", name)


def _spellings(key: str) -> tuple[str, ...]:
    """
    Give a model key as written, and with its provider under the canonical name: `azure-openai/gpt-4o`.
    """
    provider, slash, model = key.partition("/")
    return (key, f"{canonical(provider)}/{model}") if slash else (key,)


def _whole(prices: Mapping[str, Decimal]) -> Bands:
    """
    Give one band; what is both cached and of a priced modality is charged as cached unless priced apart.
    """
    complete = dict(prices)
    for modality in ("text", "audio", "image"):
        if "cache_read" in prices and f"{modality}_input" in prices:
            complete.setdefault(f"{modality}_cache_read", prices["cache_read"])
    return (Band(_BASE, complete),)


def _decimal(found: object) -> Decimal | None:
    if isinstance(found, bool) or not isinstance(found, int | float | str | Decimal):
        return None
    try:
        value = Decimal(str(found))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _join(where: str, key: str) -> str:
    return f"{where} {key}" if where.endswith(":") else f"{where}.{key}"


def _shape(found: object) -> str:
    return _SHAPES.get(type(found).__name__, type(found).__name__)
