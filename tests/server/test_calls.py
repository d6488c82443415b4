"""Calls of several owners, begun, read, over, dropped; and their readers."""

import asyncio
import json
from dataclasses import replace

import pytest

from server import errors
from server.call import CallsSettings
from server.calls import CallReader, Calls
from server.errors import RefusedError
from tests.server.test_call import AGENT, CUSTOMER, final, kinds, partial, read

SETTINGS = CallsSettings(wait_s=0.05)
OWNER, OTHER = "tests pbx", "tests other"


class Place:
    """Calls, and what time it is."""

    def __init__(self, settings=SETTINGS, first_seq=1):
        self.now_s, self.is_stopping = 0.0, False
        self.calls = Calls(settings, lambda: self.now_s, lambda: self.is_stopping, first_seq)

    def join(self, owner=OWNER, call_id="c-1", tracks=(CUSTOMER,)):
        return self.calls.join(owner, call_id, "s-1", tracks, self.now_s)

    def find(self, owner=OWNER, call_id="c-1"):
        return self.calls.find(call_id, lambda each: each == owner)

    def wait(self, duration_s):
        self.now_s += duration_s
        self.calls.tick(self.now_s)

    def reader(self, after_seq=0, outbox_events=16, why_ended=lambda: None):
        return CallReader(self.find(), after_seq, outbox_events, why_ended)


@pytest.fixture
def place():
    return Place()


async def taken(reader):
    told = []
    while kept := await reader.take(0.0):
        told.append(json.loads(kept.text))
    return told


def test_two_connections_of_one_owner_meet_in_one_call(place):
    place.join()
    place.join(tracks=[AGENT])
    assert kinds(read(place.find().call)) == ["call_started", "track_started", "track_started"]
    assert place.calls.total == 1


def test_calls_of_different_owners_never_meet(place):
    place.join().say(0, final(0, text="mine"), 0.0)
    place.join(OTHER).say(0, final(0, text="theirs"), 0.0)
    assert [read(place.find(owner).call)[-1]["text"] for owner in (OWNER, OTHER)] == [
        "mine",
        "theirs",
    ]
    assert place.find("tests third") is None
    assert place.find(call_id="c-2") is None


def test_of_several_that_may_be_read_the_one_that_began_last_is_found(place):
    place.join()
    place.join(OTHER)
    assert place.calls.find("c-1", lambda owner: True).owner == OTHER


def test_a_call_that_is_over_is_kept_for_a_while_and_then_dropped(place):
    place.join().leave("stopped", 0.0)
    place.wait(5.0)
    assert kinds(read(place.find().call))[-1] == "call_ended"
    place.wait(29.9)
    assert place.find() is not None
    place.wait(0.1)
    assert place.find() is None
    assert place.calls.total == 0


def test_a_call_that_is_dropped_leaves_that_of_another_owner(place):
    place.join().leave("stopped", 0.0)
    place.join(OTHER)
    place.wait(5.0)
    place.wait(30.0)
    assert place.find() is None
    assert place.find(OTHER) is not None
    assert place.calls.total == 1


def test_the_same_id_begins_anew_with_numbers_that_go_on(place):
    place.join().leave("stopped", 0.0)
    place.wait(5.0)
    former = place.find()
    place.join()
    assert place.find() is not former
    assert [event["seq"] for event in read(place.find().call)] == [5, 6]
    assert place.calls.total == 1


def test_numbers_go_on_when_nothing_is_known_of_the_former_call_any_more(place):
    place.join().leave("stopped", 0.0)
    place.wait(5.0)
    place.wait(30.0)
    assert place.calls.total == 0
    place.join()
    assert [event["seq"] for event in read(place.find().call)] == [5, 6]


async def test_who_comes_back_after_a_restart_misses_nothing_of_the_next_call():
    before, after = Place(first_seq=1000), Place(first_seq=2000)
    before.join()
    had = before.find().call.last_seq
    after.join()
    assert kinds(await taken(after.reader(after_seq=had))) == ["call_started", "track_started"]


def test_there_are_so_many_calls_and_those_that_are_over_make_room():
    place = Place(replace(SETTINGS, most_calls=2))
    place.join(call_id="old").leave("stopped", 0.0)
    place.wait(6.0)
    place.join(call_id="newer").leave("stopped", 6.0)
    place.wait(6.0)
    place.join(call_id="runs")
    assert place.find(call_id="old") is None
    place.join(call_id="runs too")
    with pytest.raises(RefusedError) as refused:
        place.join(call_id="one more")
    assert (refused.value.refusal, refused.value.reason) == (errors.OVERLOADED, "calls_full")
    place.join(call_id="runs")
    assert place.calls.total == 2


def test_a_server_that_stops_waits_for_no_other_connection(place):
    place.join().leave("stopped", 0.0)
    place.is_stopping = True
    place.wait(0.1)
    assert place.find().call.over_s == 0.1
    assert place.calls.is_stopping


async def test_time_passes_by_itself(place):
    place.join().leave("stopped", 0.0)
    place.now_s = 5.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await place.calls.run()
    assert place.find().call.over_s == 5.0


def anybody(owner):
    return True


async def test_who_asks_for_a_call_that_has_not_begun_waits_for_it(place):
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(place.calls.until_begun("c-1", anybody, lambda: None))
        await asyncio.sleep(0)
        place.join(call_id="c-2")
        await asyncio.sleep(0)
        place.join()
    assert waiting.result() is place.find()


async def test_nobody_waits_for_ever():
    place = Place(replace(SETTINGS, wait_s=0.0))
    with pytest.raises(RefusedError) as refused:
        await place.calls.until_begun("c-1", anybody, lambda: None)
    assert refused.value.refusal is errors.CALL_UNKNOWN


async def test_who_may_not_wait_any_more_does_not(place):
    with pytest.raises(RefusedError) as refused:
        await place.calls.until_begun("c-1", anybody, lambda: errors.REVOKED)
    assert refused.value.refusal is errors.REVOKED


async def test_a_reader_takes_what_is_there_and_what_comes(place):
    seat = place.join()
    reader = place.reader()
    assert kinds(await taken(reader)) == ["call_started", "track_started"]
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(reader.take(5.0))
        await asyncio.sleep(0)
        seat.say(0, final(0), 0.0)
    assert json.loads(taking.result().text)["type"] == "final"
    assert (reader.seq, reader.n_events) == (3, 3)
    assert not reader.is_done
    seat.leave("stopped", 0.0)
    place.wait(5.0)
    assert kinds(await taken(reader)) == ["track_ended", "call_ended"]
    assert reader.is_done


async def test_who_comes_back_goes_on_after_what_it_has(place):
    place.join().say(0, final(0), 0.0)
    assert kinds(await taken(place.reader(2))) == ["final"]
    assert kinds(await taken(place.reader(3))) == []
    of_another = await taken(place.reader(99))
    assert kinds(of_another) == ["call_started", "track_started", "final"]


async def test_who_reads_slowly_gets_the_latest_caption_and_who_reads_nothing_is_closed(place):
    seat = place.join()
    reader = place.reader()
    for revision in range(100):
        seat.say(0, partial(0, revision), 0.0)
    assert kinds(await taken(reader)) == ["call_started", "track_started", "partial"]
    for segment in range(16):
        seat.say(0, final(segment), 0.0)
    assert reader.why_ended is None
    seat.say(0, final(16), 0.0)
    with pytest.raises(RefusedError) as refused:
        await reader.take(0.0)
    assert refused.value.refusal is await reader.until_ended() is errors.SLOW_READER
    assert kinds(await taken(place.reader(reader.seq))) == ["final"] * 17


async def test_what_was_there_before_makes_no_reader_slow(place):
    seat = place.join()
    for segment in range(100):
        seat.say(0, final(segment), 0.0)
    assert len(await taken(place.reader())) == 102


async def test_a_right_that_ends_is_noticed_while_nothing_is_read(place):
    place.join()
    ends = []
    reader = place.reader(why_ended=lambda: ends[0] if ends else None)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(reader.until_ended())
        await asyncio.sleep(0)
        ends.append(errors.REVOKED)
    assert waiting.result() is errors.REVOKED


async def test_who_reads_a_call_that_was_dropped_reads_it_to_its_end(place):
    place.join().leave("stopped", 0.0)
    reader = place.reader()
    place.wait(5.0)
    place.wait(30.0)
    assert place.find() is None
    assert kinds(await taken(reader))[-1] == "call_ended"


async def test_who_catches_up_leaves_others_their_turn(place):
    seat = place.join()
    for segment in range(100):
        seat.say(0, final(segment), 0.0)
    turns = []

    async def other():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(other())
        assert len(await taken(place.reader())) == 102
        working.cancel()
    assert len(turns) >= 3
