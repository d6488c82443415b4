"""A file in the place of a client: what a session hears, and what is kept of what it says."""

import asyncio

import pytest

from server import errors, wire
from server.errors import RefusedError
from server.oneshot import OneShot

FRAME = bytes(6400)


class Blocks:
    """Sound from a list; a refusal in it is raised."""

    def __init__(self, *blocks):
        self.blocks = list(blocks)

    def read(self):
        block = self.blocks.pop(0) if self.blocks else b""
        if isinstance(block, errors.Refusal):
            raise RefusedError(block)
        return block


class Scene:
    def __init__(self, *blocks, language=None, context=None, channels=1):
        self.said = []
        self.sound = Blocks(*blocks)
        self.shot = OneShot(self.sound, language, context, self.hear, channels)

    async def hear(self, final):
        self.said.append(final.text)

    async def send(self, *events):
        for event in events:
            await self.shot.send_text(wire.encode(event))


def final(text, number=0):
    return wire.Final(number, 0, 1000, text, "en", 0.9, [])


def ended(reason="stopped"):
    return wire.Ended(reason, wire.Usage(32_000, 1000, 500, 1))


def decoded(message):
    return wire.decode_client_message(message["text"])


async def test_two_channels_are_as_long_as_one():
    it = Scene(FRAME, channels=2)
    assert decoded(await it.shot.receive()).channels == 2
    await it.send(wire.Ended("stopped", wire.Usage(64_000, 2000, 500, 1)))
    assert it.shot.audio_ms == 1000


async def test_a_file_is_a_start_frames_of_200_ms_and_a_stop():
    it = Scene(FRAME * 2 + b"12", FRAME, language="en", context='"quotes"')
    start = decoded(await it.shot.receive())
    assert start == wire.Start(16_000, language="en", partials=False, context='"quotes"')
    frames = [await it.shot.receive() for _ in range(4)]
    assert [len(frame["bytes"]) for frame in frames] == [6400, 6400, 2, 6400]
    assert decoded(await it.shot.receive()) == wire.Stop()


async def test_nothing_is_decoded_before_it_is_asked_for():
    it = Scene(FRAME, FRAME)
    await it.shot.receive()
    assert len(it.sound.blocks) == 2
    await it.shot.receive()
    assert len(it.sound.blocks) == 1


async def test_a_client_that_leaves_disconnects_at_once_or_while_the_last_words_are_awaited():
    it = Scene(FRAME)
    await it.shot.receive()
    it.shot.vanish()
    assert await it.shot.receive() == {"type": "websocket.disconnect", "code": 1006}
    assert it.shot.is_gone

    it = Scene()
    await it.shot.receive()
    await it.shot.receive()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(it.shot.receive())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        it.shot.vanish()
    assert waiting.result()["type"] == "websocket.disconnect"


async def test_sound_that_breaks_off_disconnects_with_its_own_code():
    it = Scene(FRAME, errors.AUDIO_UNREADABLE)
    await it.shot.receive()
    await it.shot.receive()
    assert await it.shot.receive() == {"type": "websocket.disconnect", "code": 4415}
    await it.send(ended())
    assert it.shot.refusal == errors.AUDIO_UNREADABLE


async def test_finals_with_words_are_kept_and_handed_on():
    it = Scene()
    await it.send(final("one"), final("", 1), final("two", 2), ended())
    await it.shot.close(1000)
    assert it.said == ["one", "two"]
    assert [heard.text for heard in it.shot.finals] == ["one", "two"]
    assert (it.shot.refusal, it.shot.audio_ms) == (None, 1000)


async def test_what_says_nothing_of_the_words_is_let_by():
    it = Scene()
    await it.send(wire.SpeechStarted(0, 0), wire.SpeechEnded(0, 100))
    assert it.said == []


@pytest.mark.parametrize(
    ("code", "refusal"), [("quota_audio", errors.QUOTA_AUDIO), ("of_tomorrow", errors.INTERNAL)]
)
async def test_an_error_of_the_session_is_the_refusal_of_that_code(code, refusal):
    it = Scene()
    await it.send(wire.ErrorEvent(code, "text", is_retryable=False), ended(code))
    assert it.shot.refusal == refusal


def test_a_session_that_never_came_to_its_end_is_our_fault():
    it = Scene()
    assert (it.shot.refusal, it.shot.audio_ms) == (errors.INTERNAL, 0)
