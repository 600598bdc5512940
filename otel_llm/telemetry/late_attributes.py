"""
Attributes that are worked out when somebody looks at them.

To the SDK and to whoever exports they are the attributes they always were: `BoundedAttributes`, under the same limits.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Span

from otel_llm.diagnostics import report_failure

Attributes = dict[str, Any]


def told_later(first: Attributes, rest: Callable[[], Attributes]) -> Mapping[str, Any]:
    """
    Give attributes of a log record: some that are known, and `rest`, which is asked for when somebody looks.
    """
    if not _KNOWN:
        return first | _answer(rest)
    attributes = object.__new__(_LateAttributes)
    vars(attributes).update(_UNLIMITED, _lock=Lock(), _first=first, _rest=rest)
    return attributes


def tell_later(span: Span, rest: Callable[[], Attributes]) -> None:
    """
    Add attributes to a span that is about to end; they are asked for when somebody looks.
    """
    held = getattr(span, "_attributes", None)
    if not _KNOWN or type(held) is not BoundedAttributes:
        span.set_attributes(_answer(rest))
        return
    # In this order, for another thread may be setting an attribute.
    vars(held).update(_first=held._dict, _dropped=held.dropped, _rest=rest)  # noqa: SLF001
    held.__class__ = _LateAttributes
    del held._dict, held.dropped  # noqa: SLF001


class _LateAttributes(BoundedAttributes):
    """
    `_first`, and `_rest`, which is asked for when somebody looks; until then there is no `_dict`.
    """

    _first: Attributes
    _rest: Callable[[], Attributes] | None
    _dropped: int

    def __getattr__(self, name: str) -> Any:
        # Python asks here for what is not there yet.
        if name not in {"_dict", "dropped"}:
            raise AttributeError(name)
        rest = self._rest
        if rest is not None:
            told, dropped = self._bounded({**self._first, **_answer(rest)})
            # Of two who look at the same time both get what the first one put there.
            vars(self).setdefault("dropped", self._dropped + dropped)
            vars(self).setdefault("_dict", told)
            self._rest = None
        return vars(self)[name]

    def _bounded(self, attributes: Attributes) -> tuple[Attributes, int]:
        if self.max_value_len is None and (self.maxlen is None or len(attributes) <= self.maxlen):
            return attributes, 0
        bounded = BoundedAttributes(self.maxlen, attributes, immutable=False, max_value_len=self.max_value_len)
        return bounded.copy(), bounded.dropped  # type: ignore[return-value]


_UNLIMITED = vars(BoundedAttributes(immutable=False)) | {"_dropped": 0}
_KNOWN = _UNLIMITED.keys() >= {"_dict", "_lock", "dropped", "maxlen", "max_value_len"}
"""Whether the SDK keeps attributes in the way we know."""
if _KNOWN:
    del _UNLIMITED["_dict"], _UNLIMITED["dropped"]


def _answer(rest: Callable[[], Attributes]) -> Attributes:
    try:
        return rest()
    except Exception as error:  # noqa: BLE001 - an exporter asks, for a batch of spans that are not all ours
        report_failure("an account", error)
        return {}
