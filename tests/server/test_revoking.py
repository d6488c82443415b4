"""Revocations that end what lives by them."""

import asyncio
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from security.audit_events import TokenRevoked
from security.revocation_file import append_revocation
from security.revocations import RevokedKey, RevokedSubject, RevokedToken
from security.tokens import TokenPolicy
from server import errors, revoking
from server.live import LiveSessions
from server.revoking import Revoking, event_of, policy_of, revocation_of
from server.subjects import MemorySubjects
from tests.fakes import GRANT
from tests.server.test_live import living

OURS = TokenPolicy(issuer="tests", audience="a", max_lifetime_s=100, leeway_s=10)
THEIRS = TokenPolicy(issuer="other", audience="a")


@pytest.fixture
def live():
    return LiveSessions(10, MemorySubjects(time.monotonic, lambda: 0.0))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "revocations.ndjson"


async def test_a_revocation_ends_the_sessions_of_what_was_revoked_and_no_others(live, path):
    alice, bob = living("a"), living("b", replace(GRANT, subject="bob"))
    it = Revoking(path, live, 0.0)
    with live.running(alice), live.running(bob):
        assert await it.revoke(RevokedSubject("tests", "bob", 100, 200)) == 1
        assert bob.connection.refusals == [errors.REVOKED]
        assert alice.connection.refusals == []
    assert it.is_revoked(bob.connection.grant)
    assert not it.is_revoked(alice.connection.grant)


async def test_what_a_command_revokes_ends_here_too(live, path, monkeypatch):
    monkeypatch.setattr(revoking, "POLL_S", 0.001)
    session, it = living(), Revoking(path, live, 0.0)
    with live.running(session):
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(it.run())
            append_revocation(path, RevokedKey("tests", "k-1"))
            while not session.connection.refusals:  # noqa: ASYNC110 (of things that know no events)
                await asyncio.sleep(0.001)
            looking.cancel()


async def test_who_revokes_is_told_of_the_sessions_that_end_however_often_the_file_is_looked_at(
    live, path, monkeypatch
):
    monkeypatch.setattr(revoking, "POLL_S", 0.0)
    it = Revoking(path, live, 0.0)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(it.run())
        for name in map(str, range(50)):
            with live.running(living(name, replace(GRANT, subject=name))):
                assert await it.revoke(RevokedSubject("tests", name, 100, 200)) == 1
        looking.cancel()


async def test_a_list_that_cannot_be_read_is_told_and_what_is_known_counts(live, path):
    it = Revoking(path, live, 0.0)
    await it.revoke(RevokedToken("tests", "t-1", 100))
    with path.open("ab") as file:
        file.write(b"nonsense\n")
    with capture_logs() as logs:
        await it.revoke(RevokedToken("tests", "t-2", 100))
    assert [log["log_level"] for log in logs] == ["error"]
    assert it.is_revoked(GRANT)


def test_what_is_revoked_by_name_is_kept_until_no_such_token_can_live():
    assert revocation_of(OURS, 5.7, token_id="t") == RevokedToken("tests", "t", 125)  # noqa: S106 (an id)
    assert revocation_of(OURS, 5.7, subject="s") == RevokedSubject("tests", "s", 5, 125)
    assert revocation_of(OURS, 5.7, key_id="k") == RevokedKey("tests", "k")


def test_an_issuer_is_our_own_unless_another_is_named():
    assert policy_of([OURS, THEIRS], None) is OURS
    assert policy_of([OURS, THEIRS], "other") is THEIRS
    assert policy_of([OURS, THEIRS], "nobody") is None


@pytest.mark.parametrize(
    ("revocation", "event"),
    [
        (RevokedToken("i", "t", 1), TokenRevoked("i", "revoked_token", "t", by="root")),
        (
            RevokedSubject("i", "s", 1, 2),
            TokenRevoked("i", "revoked_subject", subject="s", by="root"),
        ),
        (RevokedKey("i", "k"), TokenRevoked("i", "revoked_key", key_id="k", by="root")),
    ],
)
def test_each_kind_has_its_row(revocation, event):
    assert event_of(revocation, by="root") == event
