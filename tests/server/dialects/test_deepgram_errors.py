"""Refusals in, Deepgram's errors out."""

import json
from dataclasses import replace

import pytest

from server import errors
from server.dialects.deepgram_errors import declined, error_of, refused

STATUSES = {
    errors.UNAUTHENTICATED: (401, "INVALID_AUTH"),
    errors.TOKEN_EXPIRED: (401, "INVALID_AUTH"),
    errors.FORBIDDEN: (403, "INSUFFICIENT_PERMISSIONS"),
    errors.TOO_MANY_SESSIONS: (429, "TOO_MANY_REQUESTS"),
    errors.QUOTA_AUDIO: (402, "ASR_PAYMENT_REQUIRED"),
    errors.QUOTA_DAILY: (402, "ASR_PAYMENT_REQUIRED"),
    errors.MESSAGE_TOO_BIG: (413, "PAYLOAD_TOO_LARGE"),
    errors.AUDIO_UNREADABLE: (400, "Bad Request"),
    errors.MODEL_UNKNOWN: (400, "Bad Request"),
    errors.BAD_REQUEST: (400, "Bad Request"),
    errors.REQUEST_LATE: (408, "Bad Request"),
    errors.OVERLOADED: (503, "SERVICE_UNAVAILABLE"),
    errors.INTERNAL: (500, "INTERNAL_SERVER_ERROR"),
}


@pytest.mark.parametrize(("refusal", "answer"), STATUSES.items(), ids=lambda it: str(it))
def test_a_refusal_has_deepgrams_status_and_code(refusal, answer):
    told = refused(refusal, "an-id")
    body = json.loads(told.body)
    assert (told.status, body["err_code"]) == answer
    headers = dict(told.headers)
    assert headers["dg-error"] == body["err_msg"]
    assert headers["dg-request-id"] == body["request_id"] == "an-id"
    assert ("retry-after" in headers) == refusal.is_retryable


def test_every_refusal_can_be_told():
    for refusal in errors.ALL:
        headers = refused(refusal, "an-id").headers
        assert all(value.isascii() and value.isprintable() for _, value in headers)


def test_an_option_is_declined_with_what_it_is_about():
    told = declined("redact is not supported.", "an-id")
    assert told.status == 400
    assert json.loads(told.body) == {
        "err_code": "INVALID_QUERY_PARAMETER",
        "err_msg": "redact is not supported.",
        "request_id": "an-id",
    }


@pytest.mark.parametrize(
    ("refusal", "variant"),
    [
        (errors.IDLE, "NET-0001"),
        (errors.START_LATE, "NET-0001"),
        (errors.BAD_MESSAGE, "DATA-0000"),
        (errors.QUOTA_BYTES, "ASR_PAYMENT_REQUIRED"),
        (errors.TOO_FAST, "TOO_MANY_REQUESTS"),
        (errors.SHUTTING_DOWN, "SERVICE_UNAVAILABLE"),
        (errors.LANGUAGE_UNKNOWN, "Bad Request"),
    ],
)
def test_a_session_ends_with_deepgrams_words(refusal, variant):
    assert error_of(refusal.code, refusal.text).variant == variant


@pytest.mark.parametrize("refusal", [errors.IDLE, errors.START_LATE])
def test_who_said_nothing_is_told_what_keeps_a_connection_of_deepgrams(refusal):
    error = error_of(refusal.code, refusal.text)
    assert "start" not in error.description
    assert "KeepAlive" in error.description


@pytest.mark.parametrize("refusal", errors.ALL)
def test_no_session_ends_with_words_of_our_own_protocol(refusal):
    assert "earwitness" not in error_of(refusal.code, refusal.text).description


def test_a_code_of_a_newer_server_is_our_fault():
    unknown = replace(errors.IDLE, code="new")
    assert error_of(unknown.code, "text").variant == "INTERNAL_SERVER_ERROR"
