"""Claims to rights."""

from dataclasses import replace

from security.limits import Limits
from security.tokens import Claims
from server.grant import Grant, grant_from_claims

CLAIMS = Claims(
    subject="alice",
    issuer="bank",
    token_id="t-1",  # noqa: S106 (an id, not a token)
    key_id="k-1",
    issued_at_s=100,
    expires_at_s=1000,
    scopes=frozenset({"transcribe"}),
    limits=Limits(session_audio_s=60, session_bytes=5000, concurrent_sessions=2),
)


def test_claims_become_rights_that_run_from_now():
    assert grant_from_claims(CLAIMS, 400.0) == Grant("alice", "bank", "t-1", 600.0, 60_000, 5000, 2)


def test_no_limit_in_the_claims_is_no_limit():
    claims = replace(CLAIMS, limits=Limits())
    grant = grant_from_claims(claims, 400.0)
    assert (grant.audio_ms, grant.bytes, grant.concurrent_sessions) == (None, None, None)


def test_without_the_scope_there_is_no_grant():
    claims = replace(CLAIMS, scopes=frozenset({"audit"}))
    assert grant_from_claims(claims, 400.0) is None
