"""
Names of attributes that Elasticsearch takes: it reads their dots as a path, no step of which may be blank.
"""

from functools import lru_cache

import msgspec


@lru_cache(maxsize=256)
def are_usable(names: tuple[str, ...]) -> bool:
    """
    Say whether these names may stand as they are; events of one kind have the same names.
    """
    return all(name == _usable(name) for name in names)


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
