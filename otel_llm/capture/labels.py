"""
For whom a call is made: labels and identity, from code, headers, context, baggage and resource.

The first source that has a value wins: `labels()` (inner before outer), request headers, context keys, baggage, the
resource; response headers come last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from otel_llm.call import Identity, KeyRef, ResponseCache

_IDENTITY = frozenset(Identity.__struct_fields__)

HEADERS: Mapping[bytes, str] = {
    b"x-project-id": "project_id",
    b"x-organisation-id": "org_id",
    b"x-organization-id": "org_id",
    b"x-user-id": "user_id",
    b"x-session-id": "session_id",
    b"x-experiment-id": "experiment_id",
}
"""Headers that tell for whom a call is (requirements N-60, N-61); of two spellings the later wins."""

_CACHE_HEADERS: Mapping[str, tuple[bytes, ...]] = {
    "hit": (b"x-cache-hit", b"x-semantic-cache-hit", b"x-bf-cache-hit", b"x-litellm-cache-hit"),
    "type": (b"x-cache-type", b"x-semantic-cache-type", b"x-bf-cache-type"),
    "store": (b"x-cache-store", b"x-semantic-cache-store", b"x-cache-provider"),
    "similarity": (b"x-cache-similarity", b"x-semantic-cache-similarity", b"x-bf-cache-similarity"),
    "threshold": (b"x-cache-threshold", b"x-semantic-cache-threshold", b"x-bf-cache-threshold"),
}

_CACHE_NAMES = frozenset(name for names in _CACHE_HEADERS.values() for name in names)

_KNOWN = HEADERS.keys() | _CACHE_NAMES

_labels: ContextVar[Mapping[str, str]] = ContextVar("otel_llm_labels", default={})  # noqa: B039 - never changed


@contextmanager
def labels(**values: object) -> Iterator[None]:
    """
    Put labels on every call made inside the block, also in tasks started there.

    `user_id`, `session_id`, `conversation_id`, `project_id`, `project_name`, `org_id` and `experiment_id` fill the
    call's identity; `request_id`-like facts of a fallback are `parent_request_id`, `fallback_index`, `route_alias`;
    `key_id`, `key_name`, `virtual_key_id`, `virtual_key_name` name the credential. All else is a label. None is
    left out; other values become strings.
    """
    token = _labels.set({**_labels.get(), **_texts(values)})
    try:
        yield
    finally:
        _labels.reset(token)


class Context(msgspec.Struct, frozen=True, gc=False):
    """
    What is known of a call's surroundings when it starts.
    """

    values: Mapping[str, str]
    """Everything named so far, the strongest source already on top."""
    cache: Mapping[bytes, bytes] = {}
    """What the request's headers ask of a response cache."""

    def identity(self, answer: Mapping[bytes, bytes]) -> Identity:
        """
        Give for whom the call is; the answer's headers have the last word, where nobody else had one.
        """
        values = {**_named(answer), **self.values} if not _KNOWN.isdisjoint(answer) else self.values
        if not values:
            return _NOBODY
        return Identity(**{name: value for name, value in values.items() if name in _IDENTITY})

    def response_cache(self, answer: Mapping[bytes, bytes]) -> ResponseCache | None:
        """
        Read what the headers of request and answer say of a response cache in between; None when they do not.
        """
        if not self.cache and _CACHE_NAMES.isdisjoint(answer):
            return None
        return _response_cache({**self.cache, **answer})

    def labels(self) -> dict[str, str]:
        """
        Give what is neither identity nor another fact with a place of its own.
        """
        return {name: value for name, value in self.values.items() if name not in _NOT_LABELS}

    def key(self, digest: str | None) -> KeyRef:
        """
        Give the reference to the credential whose SHA-256 is `digest`.
        """
        if not self.values:
            return KeyRef(None, None, digest)
        get = self.values.get
        return KeyRef(get("key_id"), get("key_name"), digest, get("virtual_key_id"), get("virtual_key_name"))


_NOBODY = Identity()
_NOTHING = Context({})
_NOT_LABELS = _IDENTITY | {
    "parent_request_id",
    "fallback_index",
    "route_alias",
    "key_id",
    "key_name",
    "virtual_key_id",
    "virtual_key_name",
}

Lookup = Callable[[str], Any]


class Surroundings:
    """
    Reads the surroundings of a call: `custom_labels` are the context and baggage keys that become labels.
    """

    def __init__(
        self,
        *,
        custom_labels: Sequence[str] = (),
        context: Lookup | None = None,
        baggage: Lookup | None = None,
        resource: Mapping[str, Any] | None = None,
    ) -> None:
        self._custom = tuple(custom_labels)
        self._context = context
        self._baggage = baggage
        self._resource = {
            name: str(value) for name in custom_labels if resource and (value := resource.get(name)) is not None
        }

    def read(self, headers: Mapping[bytes, bytes]) -> Context:
        """
        Sum up what code, request headers, context, baggage and resource tell.
        """
        values = dict(self._resource)
        if self._custom:
            values.update(self._from(self._baggage))
            values.update(self._from(self._context))
        cache = {}
        if not _KNOWN.isdisjoint(headers):
            values.update(_named(headers))
            cache = {name: headers[name] for name in headers.keys() & _CACHE_NAMES}
        values.update(_labels.get())
        return Context(values, cache) if values or cache else _NOTHING

    def _from(self, lookup: Lookup | None) -> dict[str, str]:
        if lookup is None:
            return {}
        found = _texts({name: lookup(name) for name in self._custom})
        return {name: text for name, text in found.items() if text}


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - objects that are not ours may raise anything
        return f"[unreadable {type(value).__name__}]"


def _named(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name: headers[header].decode("latin-1") for header, name in HEADERS.items() if headers.get(header)}


def _response_cache(headers: Mapping[bytes, bytes]) -> ResponseCache:
    found = {field: value for field, names in _CACHE_HEADERS.items() if (value := _first(headers, names)) is not None}
    hit, kind = found.get("hit"), found.get("type")
    return ResponseCache(
        hit=hit.lower() in {"true", "1", "hit", "yes"} if hit else None,
        type="direct" if kind in {"hash", "exact"} else kind,
        store=found.get("store"),
        similarity=_number(found.get("similarity")),
        threshold=_number(found.get("threshold")),
    )


def _first(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> str | None:
    return next((headers[name].decode("latin-1") for name in names if name in headers), None)


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None
