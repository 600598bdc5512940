"""
Names of attributes that Elasticsearch takes: it reads their dots as a path, no step of which may be blank.
"""

from collections.abc import Iterable
from functools import lru_cache

import msgspec


def are_usable(names: Iterable[str]) -> bool:
    """
    Say whether these names may stand as they are.
    """
    return all(map(_is_usable, names))


# By the name, not by all of a record: those of somebody else may have any number, and all be different.
@lru_cache(maxsize=1024)
def _is_usable(name: str) -> bool:
    return name == _usable(name)


def renamed(document: bytes) -> bytes:
    """
    Give a document whose attributes, and its resource's, have `_` for each blank step: `a..b` is `a._.b` there.
    """
    told = msgspec.json.decode(document)
    for owner in (told, told.get("resource", {})):
        if "attributes" in owner:
            owner["attributes"] = {_usable(name): value for name, value in owner["attributes"].items()}
    return msgspec.json.encode(told)


def _usable(name: str) -> str:
    return ".".join(step if step.strip() else "_" for step in name.split("."))
