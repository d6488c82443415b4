"""Events with every kind of string in; rows that forge nothing and have no place for words out."""

import hashlib
import json
from dataclasses import FrozenInstanceError, astuple, fields, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.audit import MAX_TEXT_CHARS, clean, row_of, token_hash_of
from security.audit_events import (
    EVENT_NAMES,
    AuditEvent,
    ModelOpened,
    ServerConfigured,
    ServerStarted,
    TrailGap,
    TrailVerified,
)
from security.door_events import HandshakeRefused, SessionEnded, SessionLost, SessionStarted

ALLOWED_FIELDS = {
    "audio_ms": {int},
    "block_s": {int},
    "bridge": {str},
    "by": {str, str | None},
    "bytes_received": {int},
    "call_id": {str},
    "callee": {str | None},
    "caller": {str | None},
    "change": {str},
    "changed": {str},
    "close_code": {int},
    "dialect": {str},
    "digest": {str},
    "dropped_ms": {int},
    "duplicate_frames": {int},
    "first_lost_utc_ns": {int},
    "first_seq": {int},
    "format": {str},
    "former_kek": {str | None},
    "former_key_id": {str},
    "former_origin": {str | None},
    "former_root": {str | None},
    "former_sha256": {str | None},
    "former_size": {int | None},
    "former_token_id": {str},
    "former_version": {int},
    "gap_ms": {int},
    "http_status": {int},
    "issuer": {str, str | None},
    "kek": {str, str | None},
    "key_id": {str, str | None},
    "last_lost_utc_ns": {int},
    "last_seq": {int},
    "late_frames": {int},
    "level": {int},
    "lifetime_s": {int},
    "lost_frames": {int},
    "method": {str},
    "model": {str},
    "n_events": {int},
    "n_refused": {int},
    "n_sessions_open": {int},
    "n_tracks": {int},
    "origin": {str | None},
    "overlap_s": {int},
    "owner": {str},
    "pack": {str},
    "pack_version": {int, int | None},
    "peer_address": {str, str | None},
    "peer_port": {int | None},
    "problems": {int},
    "profile": {str},
    "publisher": {str},
    "reason": {str},
    "roles": {str},
    "root": {str},
    "rule": {str},
    "scopes": {str},
    "segments": {int},
    "seqs": {str},
    "session_id": {str},
    "severity": {str},
    "since_utc_ns": {int},
    "speech_ms": {int},
    "subject": {str, str | None},
    "token_hash": {str | None},
    "token_id": {str, str | None},
    "user_agent": {str | None},
    "version": {str},
    "what": {str},
}
KINDS = get_args(AuditEvent)
STARTED = SessionStarted(
    session_id="s-1",
    subject="ward-7",
    issuer="https://issuer.test",
    token_id="t-1",  # noqa: S106 (a name, not a secret)
    peer_address="192.0.2.1",
    peer_port=5,
    origin=None,
    user_agent="curl",
    model="tiny.en",
    pack_version=3,
    kek="local:0123456789abcdef",
)
NASTY = "a\n\x1b[2J\u202e" + "x" * 5000


def refusal(**changes):
    known = {
        "peer_address": "192.0.2.1",
        "peer_port": None,
        "origin": None,
        "user_agent": None,
        "http_status": 401,
        "reason": "expired",
    }
    return HandshakeRefused(**{**known, **changes})


def filled(kind, text):
    """An event of that kind with nothing but this in its strings."""
    values = {field.name: text if field.type in {str, str | None} else 7 for field in fields(kind)}
    return kind(**values)


def ended(reason):
    return replace(filled(SessionEnded, "x"), reason=reason)


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_has_a_field_that_could_hold_words_tokens_or_keys(kind):
    others = [f.name for f in fields(kind) if f.type not in ALLOWED_FIELDS.get(f.name, ())]
    assert others == []


def test_no_field_is_allowed_that_no_event_has():
    assert {field.name for kind in KINDS for field in fields(kind)} == ALLOWED_FIELDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_string_of_a_row_is_cleaned_and_bounded(kind):
    row = row_of(filled(kind, NASTY))
    columns = [value for value in astuple(row) if isinstance(value, str)]
    told = [value for value in json.loads(row.detail).values() if isinstance(value, str)]
    assert all(text.isprintable() for text in columns + told)
    assert all(len(text) <= MAX_TEXT_CHARS for text in columns if text != row.detail)
    assert all(len(text) <= 4096 for text in told)


@pytest.mark.parametrize("kind", KINDS)
def test_the_id_of_a_token_is_in_no_row(kind):
    event = filled(kind, "x")
    named = {f.name: "the-id-of-it" for f in fields(kind) if f.name.endswith("token_id")}
    row = row_of(replace(event, **named))
    assert "the-id-of-it" not in repr(row)
    if "token_id" in named:
        assert row.token_hash == token_hash_of("the-id-of-it")


def test_a_token_is_called_by_128_bits_of_its_hash():
    assert token_hash_of("t-1") == hashlib.sha256(b"t-1").hexdigest()[:32]
    assert row_of(STARTED).token_hash == token_hash_of("t-1")
    assert len(token_hash_of("\ud800")) == 32


def test_the_hash_of_a_lost_sessions_token_is_not_hashed_again():
    row = row_of(SessionLost("s-1", "ward-7", "i", "ab12", "192.0.2.1", "server_died"))
    assert (row.token_hash, row.outcome, row.audio_ms) == ("ab12", "failure", None)


def test_what_has_no_token_has_no_hash():
    row = row_of(refusal())
    assert row.token_hash is None
    assert "token" not in row.detail


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (STARTED, "success"),
        (refusal(), "failure"),
        (ended("stopped"), "success"),
        (ended("client_gone"), "success"),
        (ended("shutting_down"), "success"),
        (ended("internal"), "failure"),
        (ended("quota_daily"), "failure"),
        (ended("bad_message"), "failure"),
        (ended("audio_unreadable"), "failure"),
        (TrailVerified(0), "success"),
        (TrailVerified(1), "failure"),
        (TrailGap(1, 2, 3, "disk"), "failure"),
    ],
)
def test_a_row_says_whether_what_was_tried_succeeded(event, outcome):
    assert row_of(event).outcome == outcome


def test_names_of_settings_may_be_many():
    changed = " ".join(f"group.key_{index}" for index in range(100))
    assert json.loads(row_of(ServerConfigured("d", changed)).detail)["changed"] == changed


def test_every_kind_of_event_has_a_name_of_its_own():
    assert set(EVENT_NAMES) == set(KINDS)
    assert len(set(EVENT_NAMES.values())) == len(KINDS)


def test_an_event_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        STARTED.subject = "root"


def test_what_is_asked_for_is_a_column_and_the_rest_is_detail():
    row = row_of(STARTED)
    assert (row.event, row.session_id, row.subject) == ("session.started", "s-1", "ward-7")
    assert (row.address, row.reason) == ("192.0.2.1", None)
    assert json.loads(row.detail) == {
        "issuer": "https://issuer.test",
        "kek": "local:0123456789abcdef",
        "model": "tiny.en",
        "origin": None,
        "pack_version": 3,
        "peer_port": 5,
        "user_agent": "curl",
    }


def test_counts_stay_numbers():
    row = row_of(SessionEnded("s", "u", "i", "t", "a", "m", 1, 2, 3, 4, 1000, "stopped"))
    assert (row.bytes_received, row.audio_ms) == (1, 2)
    assert json.loads(row.detail)["close_code"] == 1000
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
