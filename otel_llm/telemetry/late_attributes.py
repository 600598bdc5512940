"""
Attributes that are worked out when somebody looks at them.

To the SDK and to whoever exports they are the attributes they always were: `BoundedAttributes`, under the same limits.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, NamedTuple

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Span

from otel_llm.diagnostics import report_failure

Attributes = dict[str, Any]
Rest = Callable[[], Attributes]


class Manner(NamedTuple):
    """
    When attributes are told: `Rest` is asked for what is not known yet.
    """

    of_record: Callable[[Attributes, Rest], Mapping[str, Any]]
    """Give a log record's attributes: some that are known, and the rest."""
    to_span: Callable[[Span, Rest], None]
    """Put the rest on a span that is about to end."""


def _record_now(first: Attributes, rest: Rest) -> Attributes:
    return first | _answer(rest)


def _span_now(span: Span, rest: Rest) -> None:
    """
    Set attributes that are plain values already; to clean them takes the SDK longer than all else it does with a span.
    """
    attributes, held = _answer(rest), _held(span)
    if held is not None and held.max_value_len is None:
        with held._lock:  # noqa: SLF001 - the SDK has no word for it
            present = held._dict  # noqa: SLF001
            if held.maxlen is None or len(present) + len(attributes) <= held.maxlen:
                present.update(attributes)
                return
    span.set_attributes(attributes)


def _record_later(first: Attributes, rest: Rest) -> Mapping[str, Any]:
    attributes = object.__new__(_LateAttributes)
    vars(attributes).update(_UNLIMITED, _lock=Lock(), _first=first, _rest=rest)
    return attributes


def _span_later(span: Span, rest: Rest) -> None:
    held = _held(span)
    if held is None:
        span.set_attributes(_answer(rest))
        return
    # In this order, for another thread may be setting an attribute.
    vars(held).update(_first=held._dict, _dropped=held.dropped, _rest=rest)  # noqa: SLF001
    held.__class__ = _LateAttributes
    del held._dict, held.dropped  # noqa: SLF001


def _held(span: Span) -> BoundedAttributes | None:
    """
    Give a span's attributes, if they are kept in the way we know.
    """
    held = getattr(span, "_attributes", None)
    return held if _KNOWN and type(held) is BoundedAttributes else None


class _LateAttributes(BoundedAttributes):
    """
    `_first`, and `_rest`, which is asked for when somebody looks; until then there is no `_dict`.
    """

    _first: Attributes
    _rest: Rest | None
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


def _answer(rest: Rest) -> Attributes:
    try:
        return rest()
    except Exception as error:  # noqa: BLE001 - an exporter asks, for a batch of spans that are not all ours
        report_failure("an account", error)
        return {}


NOW = Manner(_record_now, _span_now)
"""Before anybody asks: where a journal will, anyway."""
LATER = Manner(_record_later, _span_later) if _KNOWN else NOW
"""When somebody looks."""
