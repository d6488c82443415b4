"""Events with every kind of string in; rows that forge nothing and have no place for words out."""

import json
from dataclasses import FrozenInstanceError, fields
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.audit import (
    EVENT_NAMES,
    MAX_TEXT_CHARS,
    AuditEvent,
    HandshakeRefused,
    ModelOpened,
    ServerStarted,
    SessionEnded,
    SessionStarted,
    TokenRevoked,
    clean,
    row_of,
)

ALLOWED_FIELDS = {
    "by": str,
    "former_token_id": str,
    "audio_ms": int,
    "change": str,
    "former_kek": str | None,
    "former_key_id": str,
    "former_version": int,
    "kek": str,
    "key_id": str,
    "lifetime_s": int,
    "publisher": str,
    "bytes_received": int,
    "close_code": int,
    "http_status": int,
    "issuer": str,
    "model": str,
    "origin": str | None,
    "overlap_s": int,
    "pack": str,
    "pack_version": int,
    "peer_address": str,
    "reason": str,
    "scopes": str,
    "segments": int,
    "session_id": str,
    "speech_ms": int,
    "subject": str,
    "token_id": str,
    "user_agent": str | None,
    "version": str,
}
PERHAPS_UNKNOWN = {
    "by": str | None,
    "subject": str | None,
    "token_id": str | None,
    "key_id": str | None,
}
KINDS = get_args(AuditEvent)
STARTED = SessionStarted(
    session_id="s-1",
    subject="ward-7",
    issuer="https://issuer.test",
    token_id="t-1",  # noqa: S106 (a name, not a secret)
    peer_address="192.0.2.1",
    origin=None,
    user_agent="curl",
    model="tiny.en",
)


def refusal(**changes):
    known = {
        "peer_address": "192.0.2.1",
        "origin": None,
        "user_agent": None,
        "http_status": 401,
        "reason": "expired",
    }
    return HandshakeRefused(**{**known, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_has_a_field_that_could_hold_words_tokens_or_keys(kind):
    allowed = ALLOWED_FIELDS | (PERHAPS_UNKNOWN if kind in {HandshakeRefused, TokenRevoked} else {})
    assert {field.name: field.type for field in fields(kind)}.items() <= allowed.items()


def test_every_kind_of_event_has_a_name_of_its_own():
    assert set(EVENT_NAMES) == set(KINDS)
    assert len(set(EVENT_NAMES.values())) == len(KINDS)


def test_an_event_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        STARTED.subject = "root"


def test_what_is_asked_for_is_a_column_and_the_rest_is_detail():
    row = row_of(STARTED)
    assert (row.event, row.session_id, row.subject) == ("session.started", "s-1", "ward-7")
    assert (row.token_id, row.reason) == ("t-1", None)
    assert json.loads(row.detail) == {
        "issuer": "https://issuer.test",
        "model": "tiny.en",
        "origin": None,
        "peer_address": "192.0.2.1",
        "user_agent": "curl",
    }


def test_counts_stay_numbers():
    ended = SessionEnded("s", "u", "t", "m", 1, 2, 3, 4, 1000, "stopped")
    detail = json.loads(row_of(ended).detail)
    assert detail["bytes_received"] == 1
    assert detail["close_code"] == 1000
    assert json.loads(row_of(ModelOpened("m", 1 << 62, "p", "k")).detail)["pack_version"] == 1 << 62


def test_every_kind_of_event_makes_a_row():
    assert row_of(ServerStarted("0.1")).detail == '{"version":"0.1"}'
    assert row_of(refusal()).reason == "expired"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("Müller 病院", "Müller 病院"),
        ("a\nsession.ended", "asession.ended"),
        ("a\r\n\tb", "ab"),
        ("\x1b[2J\x00x", "[2Jx"),
        ("\u202eevil\u202c\u2066x\u2069", "evilx"),
        ("a\u2028b\u2029c", "abc"),
        ("a\u200bb\ufeff", "ab"),
        ("\ud800x", "x"),
        ("\x85\x9bx", "x"),
        ("", ""),
    ],
)
def test_characters_that_forge_lines_or_hide_text_are_taken_out(text, cleaned):
    assert clean(text) == cleaned


def test_long_text_is_cut_and_says_so():
    assert clean("x" * MAX_TEXT_CHARS) == "x" * MAX_TEXT_CHARS
    assert clean("x" * (MAX_TEXT_CHARS + 1)) == "x" * (MAX_TEXT_CHARS - 1) + "…"
    assert clean("\n" * 10_000_000 + "x") == "…"


@given(st.text(), st.text())
def test_any_string_makes_a_row_of_one_line(origin, agent):
    row = row_of(refusal(origin=origin, user_agent=agent))
    assert row.detail.isascii()
    assert row.detail.isprintable()
    assert len(json.loads(row.detail)["origin"]) <= MAX_TEXT_CHARS


@given(st.text())
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)
