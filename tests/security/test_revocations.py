"""Revocations and claims in; whether they still count out."""

from dataclasses import replace

import pytest

from security.errors import RevocationError
from security.revocations import (
    RevocationReason,
    Revocations,
    RevokedKey,
    RevokedSubject,
    RevokedToken,
    decode_revocation,
    encode_revocation,
    is_past,
)
from security.tokens import Claims

CLAIMS = Claims(
    subject="alice",
    issuer="bank",
    token_id="t-1",  # noqa: S106 (an id, not a token)
    key_id="k-1",
    issued_at_s=1000,
    expires_at_s=2000,
    scopes=frozenset(),
)
TOKEN = RevokedToken("bank", "t-1", 2030)
SUBJECT = RevokedSubject("bank", "alice", 1000, 4630)
KEY = RevokedKey("bank", "k-1")
ALL = [TOKEN, SUBJECT, KEY]


def revoked(*revocations):
    made = Revocations()
    for revocation in revocations:
        made.add(revocation)
    return made


def test_nothing_is_revoked_at_first():
    assert revoked().is_revoked(CLAIMS) is None


@pytest.mark.parametrize(
    ("revocation", "reason"),
    [
        (TOKEN, RevocationReason.TOKEN),
        (SUBJECT, RevocationReason.SUBJECT),
        (KEY, RevocationReason.KEY),
    ],
)
def test_what_was_revoked_does_not_count(revocation, reason):
    assert revoked(revocation).is_revoked(CLAIMS) is reason


@pytest.mark.parametrize("changes", [{"token_id": "t-2"}, {"issuer": "clinic"}])
def test_another_token_counts(changes):
    assert revoked(TOKEN).is_revoked(replace(CLAIMS, **changes)) is None


@pytest.mark.parametrize(
    "changes", [{"subject": "bob"}, {"issuer": "clinic"}, {"issued_at_s": 1001}]
)
def test_another_subject_or_a_later_token_of_the_same_counts(changes):
    assert revoked(SUBJECT).is_revoked(replace(CLAIMS, **changes)) is None


@pytest.mark.parametrize("changes", [{"key_id": "k-2"}, {"issuer": "clinic"}])
def test_another_key_counts(changes):
    assert revoked(KEY).is_revoked(replace(CLAIMS, **changes)) is None


def test_an_earlier_moment_does_not_bring_tokens_back():
    both = revoked(SUBJECT, RevokedSubject("bank", "alice", 10, 4630))
    assert both.is_revoked(CLAIMS) is RevocationReason.SUBJECT


def test_a_living_session_is_asked_by_what_it_keeps():
    assert revoked(KEY).matches("alice", "bank", "t-1", "k-1", 1000) is RevocationReason.KEY
    assert revoked(KEY).matches("alice", "bank", "t-1", "k-2", 1000) is None


@pytest.mark.parametrize("revocation", ALL)
def test_a_revocation_is_one_line_that_is_read_as_it_was_written(revocation):
    line = encode_revocation(revocation)
    assert line.count(b"\n") == 1
    assert decode_revocation(line) == revocation


def test_a_subject_with_a_line_end_in_it_is_one_line_still():
    odd = RevokedSubject("bank", "a\n\r\u2028b", 1, 2)
    assert encode_revocation(odd).splitlines(keepends=True) == [encode_revocation(odd)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"revoked":"everything"}',
        b'{"revoked":"key","issuer":"bank"}',
        b'{"revoked":"key","issuer":"bank","key_id":""}',
        b'{"revoked":"key","issuer":"bank","key_id":1}',
        b'{"revoked":"key","issuer":"bank","key_id":"k-1","more":1}',
        b'{"revoked":"token","issuer":"bank","token_id":"t-1","until_s":1.5}',
        b'{"revoked":"token","issuer":"bank","token_id":"t-1","until_s":-1}',
        encode_revocation(KEY)[:-3],
        encode_revocation(KEY) + encode_revocation(KEY),
    ],
)
def test_a_line_that_says_anything_else_is_refused(line):
    with pytest.raises(RevocationError):
        decode_revocation(line)


def test_what_has_expired_anyway_is_past_but_a_key_never_is():
    assert [is_past(revocation, 2030) for revocation in ALL] == [False, False, False]
    assert [is_past(revocation, 2031) for revocation in ALL] == [True, False, False]
    assert [is_past(revocation, 10**10) for revocation in ALL] == [True, True, False]
