"""Recordings to what was said on each of their channels."""

import json

import pytest

from client import line
from client.errors import SessionError, SourceError, UnusableError
from client.hearing import Account, Door, hear, open_recording
from client.line import Connection
from server import wire
from tests.client.audio_files import write_call, write_wav
from tests.client.fake_server import (
    READY,
    TOKEN,
    ended,
    fake_server,
    said,
    says,
    says_by_turns,
)
from tests.client.keeping_server import KeptSession, at_bytes, keeps

LABELS = ("left", "right")


def both_say():
    return says_by_turns(
        says(said(0, 0, 100, "Hello."), said(1, 300, 400, "Fine.")),
        says(said(0, 200, 250, "Hi!")),
    )


async def heard(fake, recording, kind=None, find_token=lambda: TOKEN):
    account = Account(recording.sources, kind)
    await hear(Door(fake.url, find_token), recording.sources, account.receive_event, None)
    return account


async def test_a_call_is_two_sessions_side_by_side_in_order_by_time(tmp_path):
    recording = open_recording(write_call(tmp_path / "call.wav"), "auto", LABELS)
    async with fake_server(both_say()) as fake:
        account = await heard(fake, recording)
    assert account.encode() == "left: Hello.\nright: Hi!\nleft: Fine.\n"
    left, right = (session.audio for session in fake.sessions)
    assert recording.audio_ms == 400
    assert len(left) == len(right) == 12_800
    assert max(left[:6400]) > 1 >= max(left[6400:])
    assert max(right[6400:]) > 1 >= max(right[:6400])


async def test_events_name_their_channel(tmp_path):
    recording = open_recording(write_call(tmp_path / "call.wav"), "split", ("Agent", " Caller"))
    async with fake_server(both_say()) as fake:
        account = await heard(fake, recording, "ndjson")
    lines = [json.loads(line) for line in account.encode().splitlines()]
    assert [line["channel"] for line in lines[:2]] == ["Agent", "Caller"]
    assert {line["type"] for line in lines[:2]} == {"ready"}
    assert sum(line["type"] == "final" for line in lines) == 3


def test_channels_are_mixed_if_that_is_wanted_or_they_are_alike(tmp_path):
    call = write_call(tmp_path / "call.wav")
    same = write_wav(tmp_path / "same.wav", [5, 6] * 900, [5, 6] * 900)
    assert list(open_recording(call, "mix", LABELS).sources) == [None]
    assert list(open_recording(same, "auto", LABELS).sources) == [None]
    assert list(open_recording(same, "split", LABELS).sources) == ["left", "right"]


def test_mono_cannot_be_split(tmp_path):
    with pytest.raises(UnusableError, match="no two channels"):
        open_recording(write_wav(tmp_path / "a.wav", [1, 2]), "split", LABELS)
    with pytest.raises(SourceError):
        open_recording(tmp_path / "none.wav", "auto", LABELS)


async def test_a_channel_that_gets_no_session_leaves_the_other_unsent(tmp_path):
    async def refuse(session):
        await session.hear_start()
        await session.say(wire.ErrorEvent("overloaded", "Full.", True), ended("overloaded"))

    recording = open_recording(write_call(tmp_path / "call.wav"), "auto", LABELS)
    async with fake_server(says_by_turns(says(), refuse)) as fake:
        with pytest.raises(SessionError, match=r"Full\."):
            await heard(fake, recording)
        await fake.sessions[0].socket.wait_closed()
    assert fake.sessions[0].audio == b""


async def test_one_channel_that_fails_ends_the_other(tmp_path):
    async def fail(session):
        await session.hear_start()
        await session.say(READY, wire.ErrorEvent("internal", "Failed.", True), ended("internal"))

    async def never_end(session):
        await session.hear_start()
        await session.say(READY)
        await session.socket.wait_closed()

    recording = open_recording(write_call(tmp_path / "call.wav"), "auto", LABELS)
    async with fake_server(says_by_turns(never_end, fail)) as fake:
        with pytest.raises(SessionError, match=r"Failed\."):
            await heard(fake, recording)


async def test_a_connection_that_breaks_is_told_by_channel_and_the_token_is_asked_for(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)
    recording = open_recording(write_wav(tmp_path / "a.wav", [1] * 1600), "auto", LABELS)
    tokens, told = iter([TOKEN, TOKEN[:-1] + "Z"]), []
    async with fake_server(keeps(KeptSession(), at_bytes(1))) as fake:
        door = Door(fake.url, lambda: next(tokens))
        await hear(
            door, recording.sources, lambda *_: None, None, lambda *change: told.append(change)
        )
    assert told == [
        (None, Connection.RECONNECTING),
        (None, Connection.CONNECTED),
        (None, Connection.OVER),
    ]
    assert fake.requests[1].headers["Authorization"].endswith("Z")


async def expire(session):
    """Warns, waits for a newer token, and says which it was."""
    await session.hear_start()
    await session.say(READY, wire.TokenExpiring(60))
    async for frame in session.socket:
        if isinstance(frame, str):
            session.messages.append(wire.decode_client_message(frame))
        if wire.Refresh("newer") in session.messages and wire.Stop() in session.messages:
            break
    await session.say(ended())


async def test_a_token_that_ends_soon_is_followed_by_a_newer_one(tmp_path):
    tokens = iter([TOKEN, "newer"])
    recording = open_recording(write_wav(tmp_path / "a.wav", [1] * 1600), "auto", LABELS)
    async with fake_server(expire) as fake:
        await heard(fake, recording, find_token=lambda: next(tokens))
    assert wire.Refresh("newer") in fake.sessions[0].messages


async def test_without_a_newer_token_the_session_goes_on(tmp_path):
    async def warn(session):
        await session.hear_start()
        await session.say(READY, wire.TokenExpiring(60), wire.TokenExpiring(50))
        await session.hear_until_stop()
        await session.say(ended())

    tokens = iter([TOKEN, TOKEN])

    def find_token():
        try:
            return next(tokens)
        except StopIteration:
            raise UnusableError("gone") from None

    recording = open_recording(write_wav(tmp_path / "a.wav", [1] * 1600), "auto", LABELS)
    async with fake_server(warn) as fake:
        await heard(fake, recording, find_token=find_token)
    assert fake.sessions[0].messages == [wire.Stop()]
