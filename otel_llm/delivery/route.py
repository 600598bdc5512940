"""
What of the stream of events goes to one sink, and in which form.

`where` maps a name to what is wanted; all must fit. Names are those of `FIELDS`, `label.<key>`, `resource.<attribute>`
or any attribute with a dot in it. Wanted is a value, a glob (`gpt-*`), a comparison (`>0.5`, `!openai`), `null` for
absent, or a list of those, of which one must fit.
"""

import difflib
import fnmatch
import operator
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from otel_llm.delivery.spec import SinkSpec
from otel_llm.errors import Problem, SettingsError
from otel_llm.telemetry.event import Event

Test = Callable[[Event], bool]
_Check = Callable[[Any], bool]

REDACTED = "[REDACTED]"

CONTENT = re.compile(
    r"gen_ai\.(?:input\.messages|output\.messages|system_instructions|tool\.definitions|tool\.call\.(?:arguments|result)"
    r"|retrieval\.(?:query\.text|documents)|memory\.(?:query\.text|records)|evaluation\.explanation"
    r"|prompt\.variable\..+|(?:prompt|completion)(?:\.\d.*)?)"
)
"""
The attributes that hold what was said, in our records and in those of other instrumentations.

https://github.com/open-telemetry/semantic-conventions-genai lists them; `gen_ai.prompt` and `gen_ai.completion` are
older.
"""

FIELDS: dict[str, str] = {
    "attempts": "otel_llm.attempts",
    "cache_hit": "otel_llm.cache.hit",
    "cost_source": "otel_llm.cost.source",
    "cost_usd": "gen_ai.usage.cost",
    "duration": "otel_llm.duration",
    "error_type": "error.type",
    "event_type": "otel_llm.event.type",
    "http_status": "http.response.status_code",
    "input_tokens": "gen_ai.usage.input_tokens",
    "model": "gen_ai.request.model",
    "operation": "gen_ai.operation.name",
    "org_id": "otel_llm.org.id",
    "output_tokens": "gen_ai.usage.output_tokens",
    "project_id": "otel_llm.project.id",
    "provider": "gen_ai.provider.name",
    "response_model": "gen_ai.response.model",
    "session_id": "session.id",
    "status": "otel_llm.status",
    "streaming": "gen_ai.request.stream",
    "time_to_first_chunk": "gen_ai.response.time_to_first_chunk",
    "usage_source": "otel_llm.usage_source",
    "user_id": "user.id",
}
"""The short names and the attributes they stand for."""

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*(.*)", re.DOTALL)


class Route:
    """
    One sink's choice of events, and the changes to its copy.
    """

    def __init__(self, spec: SinkSpec) -> None:
        self._tests = compile_where(spec.where, f"sinks.{spec.name}.where")
        self._bare = spec.content == "none"
        self._redact = [re.compile(fnmatch.translate(pattern)) for pattern in spec.redact]
        if spec.sample < 1:
            self._tests.append(_sampler(spec.sample))

    def apply(self, event: Event) -> Event | None:
        """
        Give the sink's copy of an event; None when the sink does not want it.
        """
        for test in self._tests:
            if not test(event):
                return None
        return self._changed(event) if self._bare or self._redact else event

    def _changed(self, event: Event) -> Event:
        attributes = event.attributes
        if self._bare:
            attributes = {name: value for name, value in attributes.items() if not CONTENT.fullmatch(name)}
        if self._redact:
            attributes = {name: REDACTED if self._is_secret(name) else value for name, value in attributes.items()}
        # Only other instrumentations' records have a body, and what was said stands in it.
        return msgspec.structs.replace(event, attributes=attributes, body=None if self._bare else event.body)

    def _is_secret(self, name: str) -> bool:
        return any(pattern.match(name) for pattern in self._redact)


class Rate:
    """
    Lets so many events through per second, with a burst of one second's worth.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(per_second, 1.0)
        self._left = self._burst
        self._then = time.monotonic()

    def allows(self) -> bool:
        """
        Whether one more event may pass now.
        """
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._then) * self._per_second)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def compile_where(where: Mapping[str, object], place: str) -> list[Test]:
    """
    Turn a `where` into tests; raises `SettingsError` with all that is wrong in it.
    """
    problems = where_problems(where, place)
    if problems:
        raise SettingsError(problems)
    return [_test(name, wanted) for name, wanted in where.items()]


def where_problems(where: Mapping[str, object], place: str) -> list[Problem]:
    """
    Say what is wrong with a `where`.
    """
    problems = [_name_problem(name, place) for name in where]
    problems += [
        _value_problem(value, f"{place}.{name}") for name, wanted in where.items() for value in _values(wanted)
    ]
    return [problem for problem in problems if problem is not None]


def _name_problem(name: str, place: str) -> Problem | None:
    if name in FIELDS or "." in name.strip("."):
        return None
    nearest = difflib.get_close_matches(name, FIELDS, n=1)
    expected = "a known field, label.<key>, resource.<attribute> or an attribute's full name"
    return Problem(place, repr(name), expected, nearest[0] if nearest else None)


def _value_problem(value: object, place: str) -> Problem | None:
    if not isinstance(value, str | bool | int | float | None):
        return Problem(place, type(value).__name__, "a value, a glob, a comparison, or a list of those")
    comparison = _COMPARISON.fullmatch(value) if isinstance(value, str) else None
    if comparison and _number(comparison[2]) is None:
        return Problem(place, repr(value), f"a number after {comparison[1]}")
    return None


def _test(name: str, wanted: object) -> Test:
    read = _getter(name)
    checks = [_check(value) for value in _values(wanted)]

    def fits(event: Event) -> bool:
        found = read(event)
        return any(check(found) for check in checks)

    return fits


def _getter(name: str) -> Callable[[Event], Any]:
    if name.startswith("resource."):
        key = name.removeprefix("resource.")
        return lambda event: event.resource.attributes.get(key)
    if name.startswith("label."):
        name = f"otel_llm.{name}"
    attribute = FIELDS.get(name, name)
    if name == "event_type":
        return lambda event: event.type
    return lambda event: event.attributes.get(attribute)


def _check(wanted: object) -> _Check:
    if wanted is None:
        return lambda found: found is None
    if not isinstance(wanted, str):
        return lambda found: found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
    if wanted.startswith("!"):
        pattern = re.compile(fnmatch.translate(wanted[1:]))
        return lambda found: not pattern.match(_text(found))
    if comparison := _COMPARISON.fullmatch(wanted):
        return _comparison(_COMPARISONS[comparison[1]], float(comparison[2]))
    pattern = re.compile(fnmatch.translate(wanted))
    return lambda found: found is not None and pattern.match(_text(found)) is not None


def _comparison(compare: Callable[[Any, Any], bool], bound: float) -> _Check:
    def check(found: object) -> bool:
        return isinstance(found, int | float) and not isinstance(found, bool) and compare(found, bound)

    return check


def _sampler(share: float) -> Test:
    limit = int(share * 0x1_0000_0000)
    return lambda event: _random_part(event.id) < limit


def _random_part(event_id: str) -> int:
    """
    Give the last 32 bits of the id, which are random in a UUID, and the same in every sink and process.
    """
    digits = event_id.replace("-", "")[-8:]
    try:
        return int(digits, 16)
    except ValueError:
        return zlib.crc32(event_id.encode(errors="replace"))


def _values(wanted: object) -> Sequence[object]:
    return wanted if isinstance(wanted, list | tuple) else (wanted,)


def _text(found: object) -> str:
    if found is None:
        return ""
    return str(found).lower() if isinstance(found, bool) else str(found)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
