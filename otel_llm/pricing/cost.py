"""What a call cost, part by part, and where the price came from."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

CostSource = Literal["provider", "operator", "book", "openrouter", "estimate"]
"""Who set the price; `book` is the bundled genai-prices table."""


class Cost(Struct, frozen=True, gc=False):
    """
    The price of one call in US dollars, or the reason why it is not known.

    `total` is the sum of the parts, each after the discount; `unit_prices` holds what was multiplied, in USD per unit
    (per token, per search, per request) before the discount, so that anybody can redo the arithmetic.
    """

    total: Decimal | None
    source: CostSource | None = None
    input: Decimal | None = None
    """Input tokens that were neither read from nor written to the prompt cache, and are not audio."""
    output: Decimal | None = None
    """Output tokens that are neither reasoning priced apart nor audio."""
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    """Five-minute and one-hour cache writes together."""
    reasoning: Decimal | None = None
    """Only where the table prices reasoning apart from output."""
    audio: Decimal | None = None
    image: Decimal | None = None
    tools: Decimal | None = None
    """Searches and other work on the provider's side."""
    requests: Decimal | None = None
    """A price per request."""
    embedding: Decimal | None = None
    """The look-up in a semantic response cache."""
    discount: Decimal | None = None
    """What the discount took off, a positive amount."""
    discount_factor: Decimal | None = None
    """0.85 means: 85 % are paid."""
    unit_prices: dict[str, Decimal] = {}
    price_version: str | None = None
    unknown_reason: str | None = None

    @classmethod
    def unknown(cls, reason: str) -> "Cost":
        """
        Give the cost of a call that nobody can price, and why.
        """
        return cls(total=None, unknown_reason=reason)
