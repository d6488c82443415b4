"""Refusals in, OpenAI's form of saying no out: the same over HTTP and over WebSocket.

OpenAI's clients go by the status of an answer, and by `type` and `code` of an event. Theirs are
used where they have one, ours where not: its text says what to do.
"""

import msgspec

from server.errors import Refusal

_KEY_REFUSED, _NO_RIGHT, _TOO_OFTEN, _OURS = 401, 403, 429, 500


class Fault(msgspec.Struct, frozen=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field at fault."""
    code: str


class _Body(msgspec.Struct, frozen=True):
    error: Fault


def fault_of(refusal: Refusal, param: str | None = None) -> Fault:
    """As OpenAI sorts them."""
    if refusal.http_status == _TOO_OFTEN:
        kind = "rate_limit_error" if refusal.is_retryable else "insufficient_quota"
    elif refusal.http_status == _NO_RIGHT:
        kind = "permission_error"
    else:
        kind = "server_error" if refusal.http_status >= _OURS else "invalid_request_error"
    code = "invalid_api_key" if refusal.http_status == _KEY_REFUSED else refusal.code
    return Fault(refusal.text, kind, param, code)


def error_body(refusal: Refusal, param: str | None = None) -> bytes:
    """Of an answer."""
    return body_of(fault_of(refusal, param))


def error_headers(refusal: Refusal) -> list[tuple[str, str]]:
    """Of an answer: whether to come again, and when."""
    headers = [("x-should-retry", str(refusal.is_retryable).lower())]
    if refusal.http_status == _KEY_REFUSED:
        headers.append(("www-authenticate", "Bearer"))
    if refusal.is_retryable:
        headers.append(("retry-after", str(refusal.retry_after_s)))
    return headers


def body_of(fault: Fault) -> bytes:
    """Of an answer."""
    return msgspec.json.encode(_Body(fault))
