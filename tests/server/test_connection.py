"""The async shell, against a WebSocket, an engine and a trail that are held in the hand."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from starlette.websockets import WebSocketDisconnect

from security.door_events import RefreshRefused, SessionEnded, SessionRefreshed
from security.errors import AuditError
from server import errors
from server.connection import Connection, ConnectionSettings, Desk
from server.errors import RefusedError
from server.pace import PaceSettings
from server.recognition import NOTHING_HEARD
from server.scheduler import EngineFailedError
from server.session_values import SessionSettings
from tests.fakes import (
    GRANT,
    FakeDetector,
    ManualClock,
    hear,
    limited,
    new_session,
    silence,
    speech,
)

START = '{"type":"start","sample_rate_hz":16000}'
STOP = '{"type":"stop"}'


class FakeWebSocket:
    """What starlette's does, with both ends in reach."""

    def __init__(self):
        self.inbox = asyncio.Queue()
        self.sent = []
        self.close_code = None
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.send_duration_s = 0.0
        self.n_received = self.n_refused = 0

    def put(self, *frames):
        for frame in frames:
            kind = "text" if isinstance(frame, str) else "bytes"
            self.inbox.put_nowait({"type": "websocket.receive", kind: frame})

    def vanish(self, code=1006):
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def receive(self):
        message = await self.inbox.get()
        self.n_received += 1
        return message

    async def send_text(self, text):
        await self.may_send.wait()
        if self.send_duration_s:
            await asyncio.sleep(self.send_duration_s)
        if self.close_code is not None:
            self.n_refused += 1
            raise WebSocketDisconnect(1006)
        self.sent.append(json.loads(text))

    async def close(self, code):
        self.close_code = code

    def kinds(self):
        return [event["type"] for event in self.sent]


@dataclass
class FakeTranscriber:
    """Answers at once with what `hear` hears, fails, or leaves everybody waiting."""

    mode: str = "answers"
    futures: list = field(default_factory=list)
    reprioritised: list = field(default_factory=list)

    def submit(self, key, utterance, urgency):
        future = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if self.mode == "answers":
            future.set_result(hear(utterance))
        elif self.mode == "fails":
            future.set_exception(EngineFailedError())
        return future

    def reprioritise(self, key, urgency):
        self.reprioritised.append((key, urgency))


async def no_renewal(token):
    raise RefusedError(errors.UNAUTHENTICATED, "token_expired")


@dataclass
class Scene:
    websocket: FakeWebSocket
    transcriber: FakeTranscriber
    clock: ManualClock
    connection: Connection
    records: list
    order: list
    running: asyncio.Task
    reserved_ms: list
    may_reserve: asyncio.Event

    async def until(self, condition: Callable[[], bool]):
        while not condition():  # noqa: ASYNC110 (of things that know no events)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def scene(
    mode="answers",
    detector=None,
    refuses_record=None,
    never_records=None,
    renew=None,
    grant=GRANT,
    write_limit_s=0.2,
    resumption=None,
    patience=None,
    **limits,
):
    websocket, transcriber, clock = FakeWebSocket(), FakeTranscriber(mode), ManualClock()
    records, order, reserved_ms = [], [], []
    may_reserve = asyncio.Event()
    may_reserve.set()

    class Trail:
        """That gives up on some kinds of event, and never comes back with others."""

        async def record(self, event):
            await asyncio.sleep(0)
            if refuses_record and isinstance(event, refuses_record):
                raise AuditError("disk full")
            if never_records and isinstance(event, never_records):
                await asyncio.Event().wait()
            records.append(event)
            order.append((type(event).__name__, len(websocket.sent)))
            return len(records)

        async def note(self, event):
            with contextlib.suppress(AuditError):
                await self.record(event)

    async def reserve(audio_ms):
        reserved_ms.append(audio_ms)
        await may_reserve.wait()
        return audio_ms

    connection = Connection(
        websocket,
        new_session(clock, grant, SessionSettings(**limits), resumption),
        new_detector=lambda: detector or FakeDetector(),
        transcriber=transcriber,
        desk=Desk(Trail(), renew or no_renewal, reserve),
        settings=ConnectionSettings(
            outbox_events=8, write_limit_s=write_limit_s, **(patience or {})
        ),
        clock=clock,
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(connection.run())
        yield Scene(
            websocket,
            transcriber,
            clock,
            connection,
            records,
            order,
            running,
            reserved_ms,
            may_reserve,
        )
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert asyncio.all_tasks() == {asyncio.current_task()}, "whoever starts a task ends it"


async def test_a_session_runs_to_its_record_and_its_close():
    async with scene() as it:
        it.websocket.put(START, speech(1000), silence(900), STOP)
    kinds = it.websocket.kinds()
    assert kinds[0] == "ready"
    assert kinds[-2:] == ["final", "ended"]
    assert it.order[-1][0] == "SessionEnded"
    assert it.websocket.close_code == 1000


async def test_the_socket_is_not_read_while_the_session_wants_no_audio():
    async with scene(mode="hangs", most_unfinished_ms=1500) as it:
        it.websocket.put(START, *[speech(1000) + silence(900)] * 10)
        await it.until(lambda: it.websocket.n_received >= 2)
        await asyncio.sleep(0.05)
        n_held = it.websocket.n_received
        assert n_held < 8
        for future in it.transcriber.futures:
            if not future.done():
                future.set_result(NOTHING_HEARD)
        it.transcriber.mode = "answers"
        await it.until(lambda: it.websocket.n_received == 11)
        it.websocket.vanish()


async def test_a_client_that_vanishes_leaves_one_record_and_nothing_running():
    async with scene(mode="hangs") as it:
        it.websocket.put(START, speech(1000))
        await it.until(lambda: it.transcriber.futures)
        it.websocket.vanish()
    assert [type(record) for record in it.records] == [SessionEnded]
    assert it.records[0].reason == "client_gone"
    assert all(future.cancelled() for future in it.transcriber.futures)


async def test_a_peer_that_fails_while_it_is_written_to_is_recorded_by_its_own_reason():
    async with scene() as it:
        it.websocket.close_code = 1009  # sending fails from now on
        it.websocket.put(START)
        await it.until(lambda: it.websocket.n_refused)
        it.websocket.vanish(1009)
    assert it.records[-1].reason == "message_too_big"


async def test_a_client_that_never_reads_counts_as_gone():
    async with scene() as it:
        it.websocket.may_send.clear()
        it.websocket.put(START, *[speech(400) + silence(600)] * 6)
    assert it.records[-1].reason == "client_gone"


async def test_a_client_that_reads_a_drop_at_a_time_does_not_keep_its_place():
    async with scene() as it:
        it.websocket.send_duration_s = 0.15  # within the limit, each
        it.websocket.put(START, *[speech(400) + silence(600)] * 6, STOP)
    assert it.records[-1].reason == "stopped"
    assert "ended" not in it.websocket.kinds()


async def test_an_engine_that_hangs_ends_the_session_after_its_limit():
    async with scene(mode="hangs", drain_limit_s=5.0) as it:
        it.websocket.put(START, speech(1000), STOP)
        await it.until(lambda: it.transcriber.futures)
        await asyncio.sleep(0.02)
        it.clock.move(6.0)
    assert it.websocket.close_code == 1011
    assert it.websocket.kinds()[-2:] == ["error", "ended"]
    assert it.records[-1].reason == "internal"


async def test_an_engine_that_fails_a_final_ends_the_session():
    async with scene(mode="fails") as it:
        it.websocket.put(START, speech(1000), STOP)
    assert it.websocket.close_code == 1011


async def test_time_ends_a_session_that_says_nothing():
    async with scene() as it:
        await asyncio.sleep(0.01)
        it.clock.move(11.0)
    assert it.websocket.sent[0]["code"] == "start_late"
    assert it.websocket.close_code == 4408


class BrokenDetector:
    def score(self, samples):
        raise ValueError("spoken words")


async def test_a_fault_of_ours_closes_without_detail_and_is_recorded(capsys):
    async with scene(detector=BrokenDetector()) as it:
        it.websocket.put(START, speech(1000))
    assert it.websocket.close_code == 1011
    assert [type(record) for record in it.records] == [SessionEnded]
    assert it.records[0].reason == "internal"
    output = capsys.readouterr()
    assert "ValueError" in output.out + output.err
    assert "spoken words" not in output.out + output.err


async def test_a_trail_that_fails_at_the_end_changes_nothing_for_the_peer():
    async with scene(refuses_record=SessionEnded) as it:
        it.websocket.put(START, speech(1000), STOP)
    assert it.websocket.kinds()[-2:] == ["final", "ended"]
    assert it.websocket.close_code == 1000


async def test_a_session_can_be_ended_from_outside_with_its_last_finals():
    async with scene() as it:
        it.websocket.put(START, speech(1000))
        await it.until(lambda: it.transcriber.futures)
        it.connection.refuse(errors.SHUTTING_DOWN)
    assert "final" in it.websocket.kinds()
    assert it.websocket.close_code == 1012


async def test_an_oversized_frame_is_recorded_by_its_name():
    async with scene() as it:
        it.websocket.put(START)
        it.websocket.vanish(1009)
    assert it.records[-1].reason == "message_too_big"


async def test_cancelling_a_connection_still_records_its_end():
    async with scene(mode="hangs") as it:
        it.websocket.put(START, speech(1000))
        await it.until(lambda: it.transcriber.futures)
        it.running.cancel()
    assert [type(record) for record in it.records] == [SessionEnded]
    assert it.websocket.close_code == 1011


# --- newer tokens, and the day ---


def newer_token(**changes):
    async def renew(token):
        await asyncio.sleep(0)
        assert token == "new"  # noqa: S105 (a stand-in)
        return replace(GRANT, **{"expires_in_s": 7200.0, **changes})

    return renew


async def test_a_newer_token_goes_to_the_door_and_only_its_grant_to_the_session():
    async with scene(renew=newer_token()) as it:
        it.websocket.put(START, '{"type":"refresh","token":"new"}', STOP)
    assert it.websocket.kinds() == ["ready", "token_refreshed", "ended"]
    assert [type(record) for record in it.records] == [SessionRefreshed, SessionEnded]
    assert it.order[0] == ("SessionRefreshed", 1), "on record before the peer is told"


async def test_a_token_that_the_door_refuses_is_told_and_the_session_goes_on():
    async with scene() as it:
        it.websocket.put(START, '{"type":"refresh","token":"bad"}', speech(1000), STOP)
    assert it.websocket.kinds()[1] == "refresh_refused"
    assert it.websocket.close_code == 1000
    assert it.records[0].reason == "token_expired"


async def test_refreshing_in_the_middle_of_a_sentence_loses_no_word():
    async with scene(renew=newer_token()) as plain:
        plain.websocket.put(START, speech(2000) + silence(900), STOP)
    async with scene(renew=newer_token()) as it:
        audio = speech(2000) + silence(900)
        it.websocket.put(START, audio[:30_000], '{"type":"refresh","token":"new"}', audio[30_000:])
        it.websocket.put(STOP)
    finals = [[e for e in s.websocket.sent if e["type"] == "final"] for s in (plain, it)]
    assert finals[0] == finals[1] != []


async def test_what_was_reserved_of_the_day_and_not_used_is_given_back():
    async with scene(grant=limited(audio_s_per_day=60)) as it:
        it.websocket.put(START, silence(1000), STOP)
    assert it.reserved_ms == [10_000, -9_000]


async def test_a_fault_of_ours_gives_back_what_was_reserved():
    async with scene(detector=BrokenDetector(), grant=limited(audio_s_per_day=60)) as it:
        it.websocket.put(START, speech(1000))
    assert it.reserved_ms == [10_000, -9_000]


async def test_a_reservation_that_comes_after_the_end_is_given_back_whole():
    async with scene(grant=limited(audio_s_per_day=60)) as it:
        it.may_reserve.clear()
        it.websocket.put(START)
        await it.until(lambda: it.reserved_ms == [10_000])
        it.connection.refuse(errors.SHUTTING_DOWN)
        it.may_reserve.set()
    assert sum(it.reserved_ms) == 0


async def test_after_the_last_moment_of_the_token_nobody_is_waited_for():
    ending = replace(GRANT, expires_in_s=5.0)
    async with scene(grant=ending, write_limit_s=60.0, expiry_leeway_s=0.0) as it:
        it.websocket.may_send.clear()
        it.websocket.put(START)
        await it.until(lambda: it.websocket.n_received == 1)
        it.clock.move(6.0)
    assert it.records[-1].reason == "token_expired"


async def test_who_reads_a_drop_at_a_time_is_gone_at_the_last_moment_of_the_token():
    ending = replace(GRANT, expires_in_s=5.0)
    async with scene(grant=ending, write_limit_s=1.0, expiry_leeway_s=0.0) as it:
        it.websocket.put(START, *[speech(400) + silence(600)] * 12)  # more than the outbox holds
        await it.until(lambda: len(it.websocket.sent) > 1)
        it.websocket.send_duration_s = 0.5  # within the limit, each
        it.websocket.put(*[speech(400) + silence(600)] * 12)
        await asyncio.sleep(0.1)
        n_sent = len(it.websocket.sent)
        it.clock.move(6.0)
    assert [type(record) for record in it.records] == [SessionEnded]
    assert len(it.websocket.sent) <= n_sent + 1


async def test_a_trail_that_hangs_keeps_nobody_beyond_the_last_moment_of_the_token(monkeypatch):
    monkeypatch.setattr("server.connection._SETTLE_LIMIT_S", 0.01)
    ending = replace(GRANT, expires_in_s=0.05)
    async with scene(never_records=SessionEnded, grant=ending, expiry_leeway_s=0.0) as it:
        it.websocket.put(START)
        await it.until(lambda: it.websocket.sent)
        it.clock.move(1.0)
        await it.until(lambda: it.running.done())
    assert it.websocket.kinds()[0] == "ready"


async def test_a_newer_token_that_cannot_be_recorded_is_not_taken_and_the_session_goes_on():
    trying = ['{"type":"refresh","token":"new"}'] * 4
    async with scene(renew=newer_token(), refuses_record=SessionRefreshed) as it:
        it.websocket.put(START, *trying, speech(1000), STOP)
    assert it.websocket.kinds()[1:5] == ["refresh_refused"] * 4, "nor is it the peer's fault"
    assert {event.get("code") for event in it.websocket.sent[1:5]} == {"trail_unavailable"}
    assert it.websocket.close_code == 1000
    assert [type(record) for record in it.records] == [RefreshRefused] * 4 + [SessionEnded]


async def test_a_newer_token_that_is_revoked_while_it_is_recorded_is_not_taken():
    answers = iter([replace(GRANT, expires_in_s=7200.0)])

    async def renew(token):
        for grant in answers:
            return grant
        raise RefusedError(errors.REVOKED)

    async with scene(renew=renew) as it:
        it.websocket.put(START, '{"type":"refresh","token":"new"}', STOP)
    assert it.websocket.sent[1]["code"] == "revoked"
    kinds = [type(record) for record in it.records]
    assert kinds == [SessionRefreshed, RefreshRefused, SessionEnded]


async def test_who_is_held_back_is_read_again_when_it_is_time():
    async with scene(grant=limited(pace_percent=100), pace=PaceSettings(burst_ms=100)) as it:
        it.websocket.put(START, silence(200), silence(20), STOP)
        await it.until(lambda: it.websocket.n_received == 2)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert it.websocket.n_received == 2
        it.clock.move(0.2)
    assert it.websocket.close_code == 1000
