"""From the door to a running session; what HTTP makes of it is in `test_app` and `test_rest`."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.websockets import WebSocketDisconnect

from security.door_events import (
    AuthenticationSucceeded,
    HandshakeRefused,
    HandshakeRefusedOften,
    SessionEnded,
    SessionStarted,
)
from security.errors import AuditError
from security.limits import Limits
from server import errors
from server.errors import RefusedError
from server.revoking import revocation_of
from server.visitor import caller_of
from tests.joined import NOW_S, POLICY, Joined, bearer
from tests.server.test_connection import START, STOP, FakeWebSocket


def peer_with(headers, kind="websocket"):
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection(
        {"type": kind, "headers": encoded, "query_string": b"", "client": ("127.0.0.1", 5)}
    )


@pytest.fixture
def joined(tmp_path):
    return Joined(tmp_path)


async def test_what_is_revoked_between_the_door_and_the_session_ends_it_at_once(joined):
    websocket = FakeWebSocket()
    async with joined.reception.enter(peer_with(bearer())) as run:
        assert await joined.revoking.revoke(revocation_of(POLICY, NOW_S, subject="alice")) == 0
        await run(websocket)
    assert websocket.close_code == 4401
    assert isinstance(joined.records[-1], SessionEnded)
    assert joined.records[-1].reason == "revoked"
    assert joined.live.total == 0


async def test_the_time_between_the_door_and_the_session_is_the_tokens(joined):
    websocket = FakeWebSocket()
    async with joined.reception.enter(peer_with(bearer())) as run, asyncio.TaskGroup() as tasks:
        await asyncio.sleep(0.05)
        running = tasks.create_task(run(websocket))
        await asyncio.sleep(0)
        [session] = joined.live.sessions
        assert session.connection.grant.expires_in_s <= 599.95
        websocket.vanish()
        await running


@pytest.mark.parametrize(("kind", "pace_percent"), [("websocket", 125), ("http", None)])
async def test_what_is_uploaded_whole_has_no_pace_and_what_is_streamed_has(
    joined, kind, pace_percent
):
    websocket = FakeWebSocket()
    websocket.put(START, STOP)
    peer = peer_with(bearer(limits=Limits(pace_percent=125)), kind)
    async with joined.reception.enter(peer) as run:
        await run(websocket)
    assert websocket.sent[0]["limits"]["pace_percent"] == pace_percent


async def test_a_place_is_given_back_when_nothing_comes_of_it(joined):
    async def leave():
        async with joined.reception.enter(peer_with(bearer())):
            assert joined.live.total == 1
            raise LookupError

    with pytest.raises(LookupError):
        await leave()
    assert joined.live.total == 0


@pytest.mark.parametrize(
    ("client", "address", "port"),
    [
        (("192.0.2.1", 5), "192.0.2.1", 5),
        (("2001:db8::1", 5), "2001:db8::1", 5),
        (("192.0.2.1", 0), "192.0.2.1", None),
        (None, "", None),
    ],
)
def test_an_address_is_that_of_a_machine_and_its_port_stands_beside_it(client, address, port):
    peer = HTTPConnection({"type": "http", "headers": [], "query_string": b"", "client": client})
    caller = caller_of(peer)
    assert (caller.address, caller.port) == (address, port)


# --- on record before anybody is let in, and once when it is over ---


def starts_and_ends(joined):
    starts = [event.session_id for event in joined.records_of(SessionStarted)]
    ends = [event.session_id for event in joined.records_of(SessionEnded)]
    assert starts == ends
    return [event.reason for event in joined.records_of(SessionEnded)]


async def entering(joined, work=None, headers=None):
    async with joined.reception.enter(peer_with(headers or bearer())) as run:
        await (work or run)(FakeWebSocket())


async def test_a_session_is_on_record_before_its_peer_is_let_in(joined):
    async with joined.reception.enter(peer_with(bearer())):
        [started] = joined.records
        assert (started.subject, started.peer_address, started.peer_port) == (
            "alice",
            "127.0.0.1",
            5,
        )
        assert (started.model, started.pack_version, started.kek) == ("fake", None, None)


def failing(error):
    async def work(websocket):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WebSocketDisconnect(1006), "client_gone"),
        (ClientDisconnect(), "client_gone"),
        (RefusedError(errors.REQUEST_LATE, "upload_late"), "upload_late"),
        (asyncio.CancelledError(), "cancelled"),
        (LookupError(), "internal"),
    ],
)
async def test_whatever_happens_before_a_session_runs_its_end_is_on_record_once(
    joined, error, reason
):
    with pytest.raises(type(error)):
        await entering(joined, failing(error))
    assert starts_and_ends(joined) == [reason]
    assert joined.live.total == 0


async def test_a_session_that_crashes_ends_once(joined, monkeypatch):
    async def crash(self):
        raise LookupError

    monkeypatch.setattr("server.connection.Connection.run", crash)
    with pytest.raises(LookupError):
        await entering(joined)
    assert starts_and_ends(joined) == ["internal"]


async def test_a_session_that_is_cancelled_while_it_runs_ends_once(joined):
    running = asyncio.create_task(entering(joined))  # noqa: TID251 (cancelled below)
    while not joined.live.sessions:  # noqa: ASYNC110 (of things that know no events)
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert starts_and_ends(joined) == ["internal"]


async def test_a_trail_that_cannot_be_written_lets_nobody_in(joined):
    joined.trail_fails = True
    with pytest.raises(RefusedError) as refused:
        await entering(joined)
    assert refused.value.refusal is errors.TRAIL_UNAVAILABLE
    assert joined.live.total == 0


async def test_who_was_kept_waiting_for_the_trail_is_not_kept_waiting_twice(joined, monkeypatch):
    async def give_up(event):
        await asyncio.sleep(0.2)
        raise AuditError("disk full")

    monkeypatch.setattr(joined, "record", give_up)
    monkeypatch.setattr(joined, "note", lambda event: asyncio.sleep(3600))
    async with asyncio.timeout(0.8):
        with pytest.raises(RefusedError):
            await entering(joined)


async def test_who_was_refused_and_is_on_record_all_the_same_ends_there(joined, monkeypatch):
    async def record(event):
        joined.records.append(event)  # the disk had it when it was given up on
        raise AuditError("too slow")

    monkeypatch.setattr(joined, "record", record)
    with pytest.raises(RefusedError):
        await entering(joined)
    assert starts_and_ends(joined) == ["trail_unavailable"]


async def test_who_is_cancelled_while_it_is_recorded_may_be_on_record_and_so_ends(
    joined, monkeypatch
):
    async def record(event):
        joined.records.append(event)
        await asyncio.sleep(3600)

    monkeypatch.setattr(joined, "record", record)
    entered = asyncio.create_task(entering(joined))  # noqa: TID251 (cancelled below)
    while not joined.records:  # noqa: ASYNC110 (of things that know no events)
        await asyncio.sleep(0.001)
    entered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entered
    assert starts_and_ends(joined) == ["cancelled"]


# --- blocks, counts and successes ---


def peer_at(address, headers=None, kind="http"):
    peer = peer_with(headers or {}, kind)
    peer.scope["client"] = (address, 5)
    return peer


async def refusal_of(joined, peer):
    with pytest.raises(RefusedError) as refused:
        await joined.reception.admit(peer)
    return refused.value.refusal


async def test_who_is_blocked_is_not_looked_at_until_it_is_over(joined):
    assert joined.reception.blocks.block("198.51.100.7", NOW_S + 60)
    good = peer_at("198.51.100.7", bearer())
    assert await refusal_of(joined, good) is errors.ADDRESS_BLOCKED
    with pytest.raises(RefusedError):
        async with joined.reception.enter(good):
            raise AssertionError("was let in")
    assert [event.reason for event in joined.records] == ["address_blocked"] * 2
    assert {event.subject for event in joined.records} == {None}
    joined.wall_s += 60
    good = peer_at("198.51.100.7", bearer(wall_s=joined.wall_s))
    assert (await joined.reception.admit(good)).subject == "alice"


async def test_administrators_are_not_locked_out_by_who_shares_their_address(joined):
    joined.reception.blocks.block("198.51.100.7", NOW_S + 60)
    for scope in ("admin", "audit"):
        admin = peer_at("198.51.100.7", bearer(subject="root", scopes={scope}))
        assert (await joined.reception.admit(admin, scope)).subject == "root"
        for headers in ({}, {"authorization": "Bearer e30.e30.e30"}, bearer()):
            with pytest.raises(RefusedError) as refused:
                await joined.reception.admit(peer_at("198.51.100.7", headers), scope)
            assert refused.value.refusal is errors.ADDRESS_BLOCKED


async def test_who_hammers_at_the_door_is_counted(joined):
    for _ in range(50):
        await refusal_of(joined, peer_at("198.51.100.7"))
    await refusal_of(joined, peer_at("198.51.100.8"))
    assert len(joined.records_of(HandshakeRefused)) == 21
    await joined.reception.flush()
    [often] = joined.records_of(HandshakeRefusedOften)
    assert (often.peer_address, often.reason, often.n_refused) == (
        "198.51.100.7",
        "token_missing",
        30,
    )
    assert often.since_utc_ns == NOW_S * 1e9


async def test_counts_are_written_when_their_minute_is_over(joined, monkeypatch):
    monkeypatch.setattr("server.refusal_record._LOOK_S", 0.001)
    monkeypatch.setattr("server.refusals.MINUTE_S", 0.5)
    for _ in range(21):
        await refusal_of(joined, peer_at("198.51.100.7"))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(joined.reception.run())
        while not joined.records_of(HandshakeRefusedOften):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        counting.cancel()
    assert len(joined.records_of(HandshakeRefusedOften)) == 1


async def test_a_token_that_is_used_is_told_once_for_each_address(joined):
    headers = bearer(token_id="t-1")  # noqa: S106 (an id)
    for address in ("198.51.100.7", "198.51.100.7", "198.51.100.8"):
        await joined.reception.admit(peer_at(address, headers))
    await joined.reception.look_in(peer_at("198.51.100.7", headers))
    told = joined.records_of(AuthenticationSucceeded)
    assert [event.peer_address for event in told] == ["198.51.100.7", "198.51.100.8"]
    assert (told[0].subject, told[0].token_id, told[0].scopes) == ("alice", "t-1", "transcribe")


async def test_a_refusal_names_whose_good_token_it_was(joined):
    await joined.revoking.revoke(revocation_of(POLICY, NOW_S, subject="alice"))
    await refusal_of(joined, peer_at("198.51.100.7", bearer(token_id="t-1")))  # noqa: S106 (an id)
    [refused] = joined.records
    assert (refused.reason, refused.subject, refused.token_id) == ("revoked", "alice", "t-1")
    assert refused.issuer == "earwitness"
