"""Many files, some of which fail."""

import asyncio

import pytest

from client.batch import WAITS_S, Batch
from client.errors import ConnectionLostError, RefusedError, SourceError, UnusableError
from client.hearing import Door
from client.options import parse_options
from server import wire
from tests.client.audio_files import write_call, write_wav
from tests.client.fake_server import (
    READY,
    TOKEN,
    deny,
    ended,
    fake_server,
    final,
    said,
    says,
    says_by_turns,
)

HELLO = says(final(0, "Hello."))


class Played:
    """A batch whose lines are kept and whose waits take no time."""

    def __init__(self, fake, *arguments):
        self.lines, self.waits_s = [], []
        options = parse_options([*map(str, arguments), "--token", TOKEN])
        door = Door(fake.url, options.find_token)
        self.batch = Batch(options, door, self.lines.append, self.sleep)

    async def sleep(self, wait_s):
        self.waits_s.append(wait_s)

    async def run(self):
        return await self.batch.run()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "talks"
    made.mkdir()
    for name in "abc":
        write_wav(made / f"{name}.wav", [1] * 800)
    return made


async def test_each_file_gets_a_document_and_the_end_a_sum(folder):
    async with fake_server(HELLO) as fake:
        played = Played(fake, folder)
        assert await played.run() is None
    assert [(folder / f"{name}.txt").read_text() for name in "abc"] == ["Hello.\n"] * 3
    assert f"{folder / 'a.wav'} → {folder / 'a.txt'}" in played.lines[0] + played.lines[1]
    assert played.lines[-1] == "3 written."
    assert all(session.start.partials for session in fake.sessions)


async def test_one_that_fails_does_not_stop_the_others(folder):
    (folder / "b.wav").write_bytes(b"no audio")
    async with fake_server(HELLO) as fake:
        played = Played(fake, folder, "--format", "srt", "--jobs", "1")
        failure = await played.run()
    assert isinstance(failure, SourceError)
    assert sorted(path.name for path in folder.glob("*.srt")) == ["a.srt", "c.srt"]
    assert played.lines[1] == f"2/3  {folder / 'b.wav'}: not a WAV, FLAC, MP3 or Ogg Vorbis file"
    assert played.lines[-1] == "2 written, 1 failed."


async def test_what_is_there_is_left_and_counts_as_done(folder):
    (folder / "b.txt").write_text("mine")
    async with fake_server(HELLO) as fake:
        played = Played(fake, folder)
        assert await played.run() is None
        assert played.lines[-1] == "2 written, 1 there already."
        assert (folder / "b.txt").read_text() == "mine"
        forced = Played(fake, folder, "--force")
        assert await forced.run() is None
    assert forced.lines[-1] == "3 written."
    assert (folder / "b.txt").read_text() == "Hello.\n"


async def test_so_many_as_were_asked_for_run_at_once(folder):
    n_now, most = 0, []

    async def count(session):
        nonlocal n_now
        n_now += 1
        most.append(n_now)
        await session.hear_start()
        await session.say(READY)
        await session.hear_until_stop()
        await asyncio.sleep(0.05)
        n_now -= 1
        await session.say(ended())

    async with fake_server(count) as fake:
        assert await Played(fake, folder, "--jobs", "2").run() is None
    assert max(most) == 2


async def test_a_token_that_is_refused_is_not_tried_on_every_file(folder):
    denial = deny(401, b'{"code":"unauthenticated","message":"No valid token."}')
    async with fake_server(denial=denial) as fake:
        played = Played(fake, folder, "--jobs", "1")
        failure = await played.run()
    assert isinstance(failure, RefusedError)
    assert len(fake.requests) == 1
    assert played.lines == [
        f"1/3  {folder / 'a.wav'}: No valid token.",
        "1 failed, 2 not tried.",
    ]


async def test_a_full_server_is_asked_again_later_each_time(folder):
    async def refuse(session):
        await session.hear_start()
        await session.say(wire.ErrorEvent("overloaded", "Full.", True), ended("overloaded"))

    async with fake_server(says_by_turns(refuse, refuse, HELLO)) as fake:
        played = Played(fake, folder, "--jobs", "1")
        assert await played.run() is None
    assert played.waits_s == list(WAITS_S[:2])


async def test_a_server_that_stays_full_is_given_up(folder):
    denial = deny(429, b'{"code":"too_many_sessions","message":"Too many."}')
    async with fake_server(denial=denial) as fake:
        played = Played(fake, folder / "a.wav", "--output-folder", folder / "out")
        failure = await played.run()
    assert isinstance(failure, RefusedError)
    assert played.waits_s == list(WAITS_S)
    assert not (folder / "out").exists()


async def test_a_session_that_fails_for_good_is_not_tried_again(folder):
    async def fail(session):
        await session.hear_start()
        await session.say(READY, wire.ErrorEvent("quota_audio", "Used up.", False))
        await session.say(ended("quota_audio"))

    async with fake_server(fail) as fake:
        played = Played(fake, folder, "--jobs", "1")
        await played.run()
    assert played.waits_s == []
    assert played.lines[-1] == "3 failed."


async def test_no_server_fails_each_file(folder):
    async with fake_server() as fake:
        pass
    assert isinstance(await Played(fake, folder).run(), ConnectionLostError)


async def test_a_call_is_split_into_its_channels(tmp_path):
    call = write_call(tmp_path / "call.wav")
    script = says_by_turns(says(said(0, 0, 200, "Hello.")), says(said(0, 200, 400, "Hi!")))
    async with fake_server(script) as fake:
        played = Played(fake, call, "--output-folder", tmp_path / "out", "--labels", "A,B")
        assert await played.run() is None
    assert (tmp_path / "out" / "call.txt").read_text() == "A: Hello.\nB: Hi!\n"


async def test_a_folder_without_recordings_is_told(tmp_path):
    async with fake_server() as fake:
        with pytest.raises(UnusableError, match="no recordings"):
            await Played(fake, tmp_path).run()
