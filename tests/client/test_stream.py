"""The stream against a server on this machine."""

import asyncio
import wave

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import line
from client.errors import (
    ConnectionLostError,
    RefusedError,
    SessionError,
    SourceError,
    UnusableError,
)
from client.sources import PipeSource
from client.stream import (
    connect,
    converse,
    stream_file,
    stream_source,
    transcribe_file,
    transcribe_file_blocking,
)
from server import wire
from tests.client.fake_server import (
    READY,
    TOKEN,
    deny,
    ended,
    fake_server,
    fake_server_in_thread,
    final,
    partial,
    says,
)


def open_stream(fake, **wishes):
    return connect(fake.url, token=TOKEN, **{"sample_rate_hz": 16_000, **wishes})


def write_wav(path, pcm, rate_hz=16_000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path


async def drop_line(session):
    await session.hear_start()
    await session.say(READY)
    await session.say(partial(0, 0, "hel"))
    session.socket.transport.abort()


async def fail_at_first_audio(session):
    await session.hear_start()
    await session.say(READY)
    await session.socket.recv()
    await session.say(
        wire.ErrorEvent("quota_audio", "The token's audio time is used up.", False),
        final(0, "so far"),
        ended("quota_audio"),
    )
    await session.socket.close(4413)


async def test_a_session_goes_from_start_to_ended():
    wishes = {"language": "en", "end_of_speech_ms": 300, "context": "Braun"}
    script = says(partial(0, 0, "hello"), final(0, "Hello."))
    async with fake_server(script) as fake, open_stream(fake, **wishes) as stream:
        await stream.send(b"\x01\x02\x03")
        await stream.send(b"\x04")
        await stream.flush()
        await stream.keep_alive()
        await stream.stop()
        await stream.stop()
        events = [event async for event in stream]
    (session,) = fake.sessions
    assert stream.ready == READY
    assert events == [partial(0, 0, "hello"), final(0, "Hello."), ended()]
    assert session.start == wire.Start(
        16_000, language="en", end_of_speech_ms=300, context="Braun", resumable=True
    )
    assert session.audio == b"\x01\x02\x03\x04"
    assert session.messages == [wire.Flush(), wire.KeepAlive(), wire.Stop()]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
async def test_audio_cut_anywhere_is_the_same_audio_at_the_server(pieces):
    async with fake_server(says()) as fake, open_stream(fake) as stream:
        for piece in pieces:
            await stream.send(piece)
        await stream.stop()
        assert [event async for event in stream] == [ended()]
    pcm = b"".join(pieces)
    assert fake.sessions[0].audio == pcm[: len(pcm) // 2 * 2]


async def test_no_audio_can_follow_stop():
    async with fake_server(says()) as fake, open_stream(fake) as stream:
        await stream.stop()
        for late in (stream.send(b"\0\0"), stream.flush(), stream.keep_alive()):
            with pytest.raises(SessionError, match="audio has ended"):
                await late


async def test_sending_all_before_reading_does_not_lock_up():
    async def talkative(session):
        await session.hear_start()
        await session.say(READY)
        await session.say(*(final(segment, "word " * 500) for segment in range(1500)))
        await session.hear_until_stop()
        await session.say(ended())

    async with fake_server(talkative) as fake, open_stream(fake) as stream:
        for _ in range(200):
            await stream.send(bytes(20_000))
        await stream.stop()
        events = [event async for event in stream]
    assert len(events) == 1501
    assert len(fake.sessions[0].audio) == 4_000_000


async def test_sending_waits_for_a_server_that_does_not_read():
    order = []
    may_read = asyncio.Event()

    async def slow(session):
        await session.hear_start()
        await session.say(READY)
        await may_read.wait()
        await session.hear_until_stop()
        await session.say(ended())

    async def send_much(stream):
        await stream.send(bytes(24_000_000))
        order.append("sent")
        await stream.stop()

    async with fake_server(slow) as fake, open_stream(fake) as stream, asyncio.TaskGroup() as group:
        group.create_task(send_much(stream))
        await asyncio.sleep(0.2)
        order.append("reading")
        may_read.set()
        assert [event async for event in stream] == [ended()]
    assert order == ["reading", "sent"]


async def test_an_error_event_is_raised_after_the_last_event_and_by_every_send():
    async with fake_server(fail_at_first_audio) as fake, open_stream(fake) as stream:
        await stream.send(b"\0\0")
        events = [await anext(stream), await anext(stream), await anext(stream)]
        with pytest.raises(SessionError) as caught:
            await anext(stream)
        with pytest.raises(SessionError, match="used up"):
            await stream.send(b"\0\0")
        await stream.stop()
    assert caught.value.code == "quota_audio"
    assert not caught.value.is_retryable
    assert events[1:] == [final(0, "so far"), ended("quota_audio")]


async def test_a_broken_line_is_a_lost_connection():
    async with fake_server(drop_line) as fake, open_stream(fake) as stream:
        with pytest.raises(ConnectionLostError) as caught:
            assert [event async for event in stream] == [partial(0, 0, "hel")]
        assert caught.value.close_code == 1006


async def test_a_sender_who_does_not_read_hears_of_the_broken_line_too():
    async with fake_server(drop_line) as fake, open_stream(fake) as stream:
        with pytest.raises(ConnectionLostError):
            await send_forever(stream)


async def send_forever(stream):
    while True:
        await stream.send(bytes(32_000))


async def test_a_session_refused_after_the_handshake_raises_its_error():
    async def refuse(session):
        await session.hear_start()
        await session.say(wire.ErrorEvent("overloaded", "Full.", True), ended("overloaded"))

    async with fake_server(refuse) as fake:
        with pytest.raises(SessionError) as caught:
            async with open_stream(fake):
                pytest.fail("there is no session")
    assert caught.value.is_retryable


async def test_a_server_that_closes_at_once_is_a_lost_connection():
    async def leave(session):
        await session.socket.close(4401)

    async with fake_server(leave) as fake:
        with pytest.raises(ConnectionLostError) as caught:
            async with open_stream(fake):
                pytest.fail("there is no session")
    assert caught.value.close_code == 4401


async def test_a_server_that_never_gets_ready_is_given_up(monkeypatch):
    monkeypatch.setattr(line, "READY_TIMEOUT_S", 0.05)

    async def dither(session):
        await session.hear_start()
        await session.socket.wait_closed()

    async with fake_server(dither) as fake:
        with pytest.raises(ConnectionLostError, match="in time"):
            async with open_stream(fake):
                pytest.fail("there is no session")


async def test_a_server_that_talks_nonsense_is_left():
    async def babble(session):
        await session.hear_start()
        await session.say(READY)
        await session.socket.send("[]")
        await session.socket.wait_closed()

    async with fake_server(babble) as fake, open_stream(fake) as stream:
        with pytest.raises(SessionError) as caught:
            await anext(stream)
    assert caught.value.code == "wrong_protocol"


async def test_impossible_settings_are_refused_before_anyone_is_called():
    async with fake_server() as fake:
        with pytest.raises(UnusableError):
            async with open_stream(fake, sample_rate_hz=11_025):
                pytest.fail("there is no session")
    assert fake.requests == []


async def test_what_the_caller_raises_comes_out_as_it_is():
    async with fake_server(says()) as fake:
        with pytest.raises(KeyError):
            async with open_stream(fake):
                raise KeyError


async def test_leaving_a_session_open_closes_the_connection():
    async with fake_server(says()) as fake:
        async with open_stream(fake):
            pass
        await fake.sessions[0].socket.wait_closed()
        assert fake.sessions[0].socket.close_code == 1000


async def test_a_cancelled_session_closes_the_connection():
    async with fake_server(says()) as fake:
        with pytest.raises(TimeoutError):
            await wait_in_vain(fake)
        await fake.sessions[0].socket.wait_closed()


async def wait_in_vain(fake):
    async with asyncio.timeout(None) as limit, open_stream(fake) as stream:
        limit.reschedule(asyncio.get_running_loop().time())
        await anext(stream)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
async def test_a_file_is_heard_sample_for_sample_at_its_own_rate(tmp_path, rate_hz):
    pcm = bytes(range(256)) * 30
    path = write_wav(tmp_path / "a.wav", pcm, rate_hz)
    async with fake_server(says(final(0, "one"), final(1, "two"))) as fake:
        transcript = await transcribe_file(fake.url, TOKEN, path, pace="real_time")
    assert transcript.text == "one two"
    assert fake.sessions[0].start == wire.Start(rate_hz, partials=False, resumable=True)
    assert fake.sessions[0].audio == pcm


async def test_a_file_stops_at_the_error_of_the_session(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(320_000))
    async with fake_server(fail_at_first_audio) as fake:
        with pytest.raises(SessionError, match="used up"):
            await transcribe_file(fake.url, TOKEN, path)


async def test_a_file_that_is_no_audio_calls_nobody(tmp_path):
    async with fake_server() as fake:
        with pytest.raises(SourceError):
            await transcribe_file(fake.url, TOKEN, tmp_path / "none.wav")
    assert fake.requests == []


async def test_a_source_that_breaks_ends_the_session_with_its_error():
    class Broken:
        sample_rate_hz = 16_000

        def __iter__(self):
            yield b"\0\0"
            raise SourceError("damaged")

        def close(self):
            pass

    async with fake_server(says()) as fake, open_stream(fake) as stream:
        with pytest.raises(SourceError, match="damaged"):
            await converse(stream, Broken(), print)


async def test_a_session_that_ends_while_a_pipe_is_silent_ends_the_reading(pipe):
    async def end_early(session):
        await session.hear_start()
        await session.say(READY, ended())

    reading, _ = pipe
    source = PipeSource(reading, 16_000)
    heard = []
    async with fake_server(end_early) as fake, open_stream(fake) as stream:
        await converse(stream, source, heard.append)
    assert heard == [ended()]


def test_a_program_without_an_event_loop_gets_its_transcript(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(6400))
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert transcribe_file_blocking(fake.url, TOKEN, path).text == "Hello."


async def test_a_file_gives_its_events_as_they_come_and_then_its_words(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(6400))
    word = wire.WordEvent("Hello.", 0, 90, 0.9)
    told = [partial(0, 0, "hel"), wire.Final(0, 0, 100, "Hello.", "en", 0.9, [word])]
    async with (
        fake_server(says(*told)) as fake,
        stream_file(fake.url, TOKEN, path, language="en", context="Braun") as events,
    ):
        seen = [(event, events.transcript.text) async for event in events]
    assert events.ready == READY
    assert seen == [(told[0], "hel"), (told[1], "Hello."), (ended(), "Hello.")]
    assert events.transcript.words == (word,)
    assert fake.sessions[0].start == wire.Start(
        16_000, language="en", context="Braun", resumable=True
    )


async def test_leaving_a_file_early_closes_the_connection(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(320_000))
    async with fake_server(says()) as fake:
        async with stream_file(fake.url, TOKEN, path, "real_time") as events:
            assert events.transcript.text == ""
        await fake.sessions[0].socket.wait_closed()


async def test_what_the_reader_of_events_raises_comes_out_as_it_is(pipe):
    source = PipeSource(pipe[0], 16_000)
    async with fake_server(says()) as fake, open_stream(fake) as stream:
        with pytest.raises(KeyError):
            async with stream_source(stream, source):
                raise KeyError
    assert list(source) == []


async def test_blocking_works_where_an_event_loop_runs_already(tmp_path):
    path = write_wav(tmp_path / "a.wav", bytes(6400))
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        assert transcribe_file_blocking(fake.url, TOKEN, path).text == "Hello."


async def test_a_denied_handshake_raises_before_the_session():
    body = b'{"code":"too_many_sessions","message":"End one first."}'
    async with fake_server(denial=deny(429, body)) as fake:
        with pytest.raises(RefusedError) as caught:
            async with open_stream(fake):
                pytest.fail("there is no session")
    assert (caught.value.code, caught.value.http_status) == ("too_many_sessions", 429)
