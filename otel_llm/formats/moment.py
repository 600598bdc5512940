"""Moments as text: RFC 3339 in UTC, cut to the digit that the reader expects."""

from datetime import UTC, datetime
from functools import lru_cache

_NS = 1_000_000_000


def with_microseconds(ns: int) -> str:
    """
    Give Unix nanoseconds as `2026-11-03T09:15:00.123456Z`.
    """
    seconds, rest = divmod(ns, _NS)
    return f"{second(seconds)}.{rest // 1000:06d}Z"


def with_milliseconds(ns: int) -> str:
    """
    Give Unix nanoseconds as `2026-11-03T09:15:00.123Z`.
    """
    seconds, rest = divmod(ns, _NS)
    return f"{second(seconds)}.{rest // 1_000_000:03d}Z"


def nanoseconds(text: str) -> int:
    """
    Read what the other two wrote; raises `ValueError` when it is no such moment.
    """
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * _NS + moment.microsecond * 1000


@lru_cache(maxsize=256)
def second(seconds: int, separator: str = "T") -> str:
    """
    Give Unix seconds as `2026-11-03T09:15:00`.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(separator)[:19]
