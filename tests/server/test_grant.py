"""Claims to rights."""

from security.tokens import Claims
from server.grant import Grant, grant_from_claims

CLAIMS = Claims("alice", "bank", "t-1", 100, 1000, frozenset({"transcribe"}), 60, 5000, 2)


def test_claims_become_rights_that_run_from_now():
    assert grant_from_claims(CLAIMS, 400.0) == Grant("alice", "bank", "t-1", 600.0, 60_000, 5000, 2)


def test_no_limit_in_the_claims_is_no_limit():
    claims = Claims("alice", "bank", "t-1", 100, 1000, frozenset({"transcribe"}), None, None, None)
    grant = grant_from_claims(claims, 400.0)
    assert (grant.audio_ms, grant.bytes, grant.concurrent_sessions) == (None, None, None)


def test_without_the_scope_there_is_no_grant():
    claims = Claims("alice", "bank", "t-1", 100, 1000, frozenset({"audit"}), None, None, None)
    assert grant_from_claims(claims, 400.0) is None
