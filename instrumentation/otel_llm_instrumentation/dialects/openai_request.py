"""
Request fields that OpenAI's formats have in common.
"""

import re
from typing import Any, Final

from msgspec import Struct

_DEPLOYMENT: Final = re.compile(r"/deployments/([^/]+)/")
_JSON_FORMATS: Final = frozenset({"json_object", "json_schema"})


class Format(Struct):
    """
    `response_format`, or `text.format` in Responses.
    """

    type: str | None = None


class Reasoning(Struct):
    """
    `reasoning`, in Responses and at OpenRouter.
    """

    effort: str | None = None


def output_type(form: Format | str | None, modalities: list[str] | None = None) -> str | None:
    """
    Give the `gen_ai.output.type` that was asked for.
    """
    kind = form.type if isinstance(form, Format) else form
    if kind:
        return "json" if kind in _JSON_FORMATS else kind
    if modalities and "audio" in modalities:
        return "speech"
    return "image" if modalities and "image" in modalities else None


def strings(value: str | list[str] | None) -> tuple[str, ...] | None:
    """
    Give a field that may be one string or several.
    """
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def unless(default: object, value: Any) -> Any:
    """
    Give what was asked for; None when that is what happens anyway.
    """
    return None if value == default else value


def deployment(path: str) -> str | None:
    """
    Give the deployment that an Azure path names, in place of a model.
    """
    found = _DEPLOYMENT.search(path)
    return found and found[1]
