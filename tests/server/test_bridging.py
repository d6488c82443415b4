"""A telephone system's connection, joined to a session of the real reception, in the hand."""

import asyncio
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace

import pytest

from security.call_events import CallEnded, CallStarted
from security.door_events import SessionEnded
from security.keys import new_key
from security.pseudonyms import Pseudonyms
from server import errors
from server.bridge import Bridge
from server.bridge_settings import BridgeSettings, DialectName
from server.bridge_values import BridgeLimits
from server.bridging import Bridging, CallOffice
from server.call import CallsSettings
from server.call_values import CallPlace, Role
from server.calls import Calls
from server.dialects.media_streams import MediaStreams, MediaStreamsSettings
from server.door import Token
from server.errors import RefusedError
from tests.fakes import MODEL
from tests.joined import Joined, bearer
from tests.server.dialects.media_simulator import SimulatedCall, texts_of
from tests.server.test_reception import peer_with

LIMIT_S = 10.0
SETTINGS = BridgeSettings("pbx", DialectName.MEDIA_STREAMS, roles={"inbound": Role.CUSTOMER})


class FakeWire:
    """What a provider says is put in; what it is told is kept."""

    def __init__(self, *frames):
        self.coming = asyncio.Queue()
        self.sent, self.close_code, self.blocks = [], None, False
        for frame in frames:
            self.coming.put_nowait(frame)

    async def receive(self):
        frame = await self.coming.get()
        if isinstance(frame, Exception):
            raise frame
        return frame

    async def send(self, frame):
        if self.blocks:
            raise ConnectionError
        self.sent.append(frame)

    async def close(self, code):
        self.close_code = code
        self.coming.put_nowait(None)


class Scene:
    def __init__(self, folder, calls_settings=None, **given):
        self.joined = Joined(folder, **given)
        loop = asyncio.get_running_loop()
        self.calls = Calls(calls_settings or CallsSettings(), loop.time)
        self.office = CallOffice(self.calls, self.joined, Pseudonyms(new_key()), MODEL.languages)
        self.token = bearer()["authorization"].removeprefix("Bearer ")

    @asynccontextmanager
    async def enter(self, opening):
        async with self.joined.reception.enter_call(peer_with({}), Token(self.token), 0) as entry:
            yield entry

    async def run(self, wire, dialect=None, enter=None, **given):
        now_s = asyncio.get_running_loop().time()
        dialect = dialect or MediaStreams(MediaStreamsSettings())
        bridge = Bridge(dialect, BridgeLimits(**given), now_s, is_known=False)
        async with asyncio.timeout(LIMIT_S):
            await Bridging(self.office, SETTINGS, wire, bridge, enter or self.enter).run()

    def events(self, call_id):
        live = self.calls.find(call_id, lambda owner: True)
        kept, seq = [], 0
        while (each := live.call.next_after(seq)) is not None:
            kept.append(each.text)
            seq = each.seq
        return kept


@pytest.fixture
async def scene(tmp_path):
    return Scene(tmp_path)


def call_of(call_id="CA1", loud_ms=500, **given):
    return texts_of(SimulatedCall(call_id=call_id, **given), {"inbound": b"\1\0" * 8 * loud_ms})


async def test_a_call_is_on_record_from_its_beginning_to_its_end(scene):
    wire = FakeWire(*call_of())
    await scene.run(wire)
    assert wire.close_code == 1000
    assert wire.sent == []
    [started] = scene.joined.records_of(CallStarted)
    [ended] = scene.joined.records_of(CallEnded)
    [session] = scene.joined.records_of(SessionEnded)
    assert (started.bridge, started.call_id, started.roles) == ("pbx", "CA1", "customer")
    assert started.session_id == ended.session_id == session.session_id
    assert (ended.reason, ended.n_tracks) == ("stopped", 1)
    assert session.reason == "stopped"
    assert scene.joined.live.total == 0
    assert "call_started" in scene.events("CA1")[0]


async def test_a_peer_that_goes_in_the_middle_has_its_last_words_heard(scene):
    wire = FakeWire(*call_of(is_stop_sent=False), None)
    await scene.run(wire)
    [session] = scene.joined.records_of(SessionEnded)
    assert session.reason == "stopped"


async def test_a_line_that_breaks_is_told_from_one_who_hangs_up(scene):
    await scene.run(FakeWire(*call_of(is_stop_sent=False), ConnectionError()))
    [ended] = scene.joined.records_of(CallEnded)
    assert ended.reason == "client_gone"
    assert '"client_gone"' in scene.events("CA1")[-1]


async def test_a_call_that_is_ended_for_a_frame_says_so_in_both_rows(scene):
    await scene.run(FakeWire(*call_of(is_stop_sent=False), "{"))
    [ended] = scene.joined.records_of(CallEnded)
    [session] = scene.joined.records_of(SessionEnded)
    assert (ended.reason, session.reason) == ("frame_malformed", "bad_request")


async def test_a_call_that_cannot_be_put_on_record_is_not_heard(scene):
    async with scene.enter(None) as entry:
        scene.joined.trail_fails = True
        wire = FakeWire(*call_of())
        await scene.run(wire, enter=lambda opening: nullcontext(entry))
        scene.joined.trail_fails = False
    assert wire.close_code == errors.TRAIL_UNAVAILABLE.close_code
    assert scene.calls.total == 0


async def test_who_may_not_come_in_is_told_by_the_close_alone(scene):
    def enter(opening):
        raise RefusedError(errors.UNAUTHENTICATED, "token_expired")

    wire = FakeWire(*call_of())
    await scene.run(wire, enter=enter)
    assert (wire.close_code, wire.sent) == (4401, [])
    assert scene.joined.records_of(CallStarted) == []


async def test_one_call_too_many_is_refused_and_its_place_is_free_again(tmp_path):
    scene = Scene(tmp_path, CallsSettings(most_calls=1, kept_s=1000))
    scene.calls.join("o", "other", "s", [], asyncio.get_running_loop().time())
    wire = FakeWire(*call_of())
    await scene.run(wire)
    assert wire.close_code == errors.OVERLOADED.close_code
    [ended] = scene.joined.records_of(CallEnded)
    assert ended.reason == "calls_full"
    assert scene.joined.live.total == 0


async def test_who_never_opens_a_call_is_closed(scene):
    wire = FakeWire(*call_of()[:1])
    with pytest.raises(RefusedError, match="start_late"):
        await scene.run(wire, opening_limit_s=0.05)
    assert wire.close_code == errors.START_LATE.close_code


async def test_what_breaks_the_protocol_before_a_call_is_told_by_its_reason(scene):
    wire = FakeWire(b"audio")
    with pytest.raises(RefusedError) as refused:
        await scene.run(wire)
    assert refused.value.reason == "binary_frame"


async def test_who_goes_before_a_call_is_opened_leaves_nothing(scene):
    await scene.run(FakeWire(*call_of()[:1], None))
    assert scene.joined.records == []


async def test_a_server_that_stops_ends_calls_with_their_last_words(scene):
    wire = FakeWire(*call_of(is_stop_sent=False))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(scene.run(wire))
        async with asyncio.timeout(LIMIT_S):
            while not scene.joined.live.sessions:  # noqa: ASYNC110 (of things that know no events)
                await asyncio.sleep(0.01)
        assert await scene.joined.live.drain(LIMIT_S)
        await running
    assert wire.close_code == errors.SHUTTING_DOWN.close_code
    assert scene.joined.records_of(CallEnded)[0].reason == "shutting_down"


async def test_cancelled_in_the_middle_it_is_on_record_all_the_same(scene):
    wire = FakeWire(*call_of(is_stop_sent=False))
    running = asyncio.create_task(scene.run(wire))  # noqa: TID251 (awaited below)
    async with asyncio.timeout(LIMIT_S):
        while not scene.joined.live.sessions:  # noqa: ASYNC110 (of things that know no events)
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert scene.joined.records_of(CallEnded)[0].reason == "cancelled"
    assert scene.joined.live.total == 0


class Chatty(MediaStreams):
    """Says something to whatever it hears."""

    def tell(self, told):
        return ["heard", *super().tell(told)]


async def test_a_wire_that_does_not_take_what_it_is_told_is_gone_and_heard_to_its_end(scene):
    wire = FakeWire(*call_of(is_stop_sent=False))
    wire.blocks = True
    await scene.run(wire, Chatty(MediaStreamsSettings()))
    assert scene.joined.records_of(SessionEnded)[0].reason == "stopped"


async def test_a_ticket_names_the_call_and_the_voice(scene):
    @asynccontextmanager
    async def enter(opening):
        async with scene.enter(opening) as entry:
            place = CallPlace("the-call", Role.AGENT, None)
            yield replace(entry, grant=replace(entry.grant, call=place))

    await scene.run(FakeWire(*call_of()), enter=enter)
    [started] = scene.joined.records_of(CallStarted)
    assert (started.call_id, started.roles) == ("the-call", "agent")
