"""
How providers spell what went wrong: `{"error": {...}}`, `{"error": "text"}`, `{"detail": ...}` or bare fields.
"""

from msgspec import Raw, Struct

from otel_llm.capture.dialect import Response
from otel_llm_instrumentation.dialects.decoding import Tolerant


class _Complaint(Struct):
    msg: str | None = None


class _Fault(Struct):
    code: str | int | None = None
    type: str | None = None
    message: str | None = None


class _Body(_Fault):
    error: _Fault | str | None = None
    detail: str | list[_Complaint] | None = None
    """FastAPI's, hence vLLM's."""


_body = Tolerant(_Body)


def read_error(body: bytes | Raw, response: Response) -> None:
    """
    Note the provider's code and words; a body that is not a JSON object tells nothing.
    """
    found = _body.attempt(body)
    if found is None:
        return
    fault = found.error if isinstance(found.error, _Fault) else found
    response.error_type = _code(fault) or response.error_type
    response.error_message = fault.message or _text(found) or response.error_message


def _code(fault: _Fault) -> str | None:
    """
    Give the code, or the type where the code only repeats the HTTP status.
    """
    if fault.type and not (isinstance(fault.code, str) and fault.code and not fault.code.isdigit()):
        return fault.type
    return None if fault.code is None else str(fault.code) or None


def _text(body: _Body) -> str | None:
    if isinstance(body.error, str):
        return body.error
    if isinstance(body.detail, list):
        return "; ".join(item.msg for item in body.detail if item.msg) or None
    return body.detail
