"""A trail that a killed server left in; what the next server tells of it out."""

import time

import pytest

from security.audit_events import ServerStopped
from security.audit_reader import TrailReader
from security.audit_store import AuditStore
from security.door_events import SessionStarted
from server.aftermath import tell_of_killed
from server.figures import Figures
from server.metrics import CountedTrail
from tests.security.trails import make_trail, row
from tests.security.written_trails import ended, names_of, places_in, started
from tests.server.audited import event_of
from tests.trail_rows import trail_rows


def began(session_id):
    return event_of(SessionStarted, session_id=session_id, subject="ward-7")


async def told(tmp_path, *events):
    """What the next start adds to these."""
    places = places_in(tmp_path)
    async with await AuditStore.open(places, time.time_ns) as store:
        for event in events:
            await store.record(event)
        async with TrailReader(places) as reader:
            await tell_of_killed(reader, CountedTrail(store, Figures(), time.monotonic))
    return (await trail_rows(places))[1 + len(events) :]


async def test_sessions_that_a_killed_server_left_open_are_told_with_all_that_is_known(tmp_path):
    events = (started(), began("s-1"), began("s-2"), ended("s-1"))
    killed, lost = await told(tmp_path, *events)
    assert (killed.event, killed.outcome) == ("server.found_killed", "failure")
    assert killed.detail == {"last_seq": 5, "n_sessions_open": 1}
    [former] = await trail_rows(places_in(tmp_path), event="session.started", session_id="s-2")
    assert (lost.event, lost.session_id, lost.reason) == ("session.lost", "s-2", "server_died")
    assert (lost.subject, lost.token_hash) == (former.subject, former.token_hash)
    assert lost.detail == {"issuer": former.detail["issuer"]}
    assert lost.audio_ms is None


@pytest.mark.parametrize("events", [(), (started(), began("s-1"), ServerStopped("stopped"))])
async def test_of_a_server_that_stopped_there_is_nothing_to_tell(tmp_path, events):
    assert await told(tmp_path, *events) == []


async def test_a_session_that_was_told_is_not_told_again(tmp_path):
    await told(tmp_path, started(), began("s-1"))
    places = places_in(tmp_path)
    async with await AuditStore.open(places, time.time_ns) as store, TrailReader(places) as reader:
        await tell_of_killed(reader, CountedTrail(store, Figures(), time.monotonic))
    assert names_of(places).count("session.lost") == 1


async def test_a_session_may_have_ended_in_another_segment(tmp_path):
    places = make_trail(
        tmp_path,
        [row("server.started"), *(row("session.started", session_id=each) for each in "abc")],
        [row("session.ended", session_id="b")],
    )

    class Noted:
        def __init__(self):
            self.events = []

        async def note(self, event):
            self.events.append(event)

    async with TrailReader(places) as reader:
        await tell_of_killed(reader, trail := Noted())
    assert [each.session_id for each in trail.events[1:]] == ["a", "c"]
