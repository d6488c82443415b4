"""Refusals in; Deepgram's errors out, over HTTP and as the last message of a connection.

A request that is refused is told so in JSON, and once more in a header, which is all that a client
sees of a handshake. Who may try again gets a status that says so, and who has used something up one
that says that more has to be had: a client that tried again would be refused again. Texts are
constants.
"""

from collections.abc import Mapping, Sequence

import msgspec

from server import errors
from server.dialects.deepgram_messages import Error
from server.dialects.translation import Answer
from server.errors import Refusal

_BAD_REQUEST, _PAYMENT_REQUIRED = 400, 402
_REFUSALS = {refusal.code: refusal for refusal in errors.ALL}
_USED_UP = {errors.QUOTA_BYTES, errors.QUOTA_AUDIO, errors.QUOTA_DAILY, errors.SESSION_TOO_LONG}
_NOTHING_CAME, _NO_AUDIO = "NET-0001", "DATA-0000"
_NOTHING_CAME_TEXT = (
    "The server did not receive audio data or a text message within the timeout window."
    " Send audio, or KeepAlive."
)
_UNDECODABLE = (
    "The audio cannot be decoded. Send WAV, or samples whose encoding and sample_rate are said."
)
_CODES: Mapping[int, str] = {
    401: "INVALID_AUTH",
    _PAYMENT_REQUIRED: "ASR_PAYMENT_REQUIRED",
    403: "INSUFFICIENT_PERMISSIONS",
    413: "PAYLOAD_TOO_LARGE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
_OTHER_CODE = "Bad Request"
_TEXTS: Mapping[int, str] = {
    errors.UNAUTHENTICATED.http_status: "Invalid credentials.",
    errors.AUDIO_UNREADABLE.http_status: (
        "Bad Request: failed to process audio: corrupt or unsupported data"
    ),
}
"""Deepgram's own, where clients look for them."""


class _Refused(msgspec.Struct, frozen=True):
    err_code: str
    err_msg: str
    request_id: str


def refused(refusal: Refusal, request_id: str) -> Answer:
    """Somebody who was not let in, or a request that went wrong."""
    status = _status(refusal)
    text = _TEXTS.get(refusal.http_status, refusal.text)
    again = [("retry-after", str(refusal.retry_after_s))] if refusal.is_retryable else []
    return _answer(status, _CODES.get(status, _OTHER_CODE), text, request_id, again)


def declined(text: str, request_id: str) -> Answer:
    """An option that cannot be honoured."""
    return _answer(_BAD_REQUEST, "INVALID_QUERY_PARAMETER", text, request_id)


def error_of(code: str, text: str) -> Error:
    """Why a session ended, by the code of its refusal."""
    refusal = _REFUSALS.get(code, errors.INTERNAL)
    if refusal in {errors.IDLE, errors.START_LATE}:
        return Error(_NOTHING_CAME, _NOTHING_CAME_TEXT)
    if refusal is errors.BAD_MESSAGE:
        return Error(_NO_AUDIO, _UNDECODABLE)
    return Error(_CODES.get(_status(refusal), _OTHER_CODE), text)


def _status(refusal: Refusal) -> int:
    if refusal in _USED_UP:
        return _PAYMENT_REQUIRED
    if refusal.http_status in {
        errors.AUDIO_UNREADABLE.http_status,
        errors.MODEL_UNKNOWN.http_status,
    }:
        return _BAD_REQUEST
    return refusal.http_status


def _answer(
    status: int, code: str, text: str, request_id: str, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    body = msgspec.json.encode(_Refused(code, text, request_id))
    shown = [("dg-error", text), ("dg-request-id", request_id), *headers]
    return Answer(status, body, shown)
