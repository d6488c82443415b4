"""Speech in, words out: the real model, the real server, the real client."""

import asyncio
import itertools
import re
from pathlib import Path

import miniaudio
import pytest

from client.stream import connect
from server.wire import Final, Partial
from tests.fakes import silence
from tests.trail_rows import words_of_trail


def pcm_of(recording) -> bytes:
    return miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=16_000).samples.tobytes()


def words_of(text: str) -> list[str]:
    """Without case and punctuation, numbers in digits."""
    numbers = "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905
    words = re.sub(r"[^\w ]", " ", text.casefold()).split()
    return [str(numbers.index(word)) if word in numbers else word for word in words]


async def converse(server, pcm: bytes, token: str | None = None, **options):
    """Send everything as fast as it is taken; give the session's id and its events."""
    async with (
        asyncio.timeout(60),
        connect(
            server.stream_url, token=token or server.token(), sample_rate_hz=16_000, **options
        ) as stream,
        asyncio.TaskGroup() as tasks,
    ):

        async def send():
            for start in range(0, len(pcm), 640):
                await stream.send(pcm[start : start + 640])
            await stream.stop()

        tasks.create_task(send())
        events = [event async for event in stream]
    return stream.ready.session_id, events


def text_of(events) -> str:
    return " ".join(event.text for event in events if isinstance(event, Final)).strip()


@pytest.fixture(params=["hello_world", "quick_brown_fox", "counting"])
def recording(request, english_recordings):
    return next(r for r in english_recordings if r.name == request.param)


async def test_a_recording_comes_back_as_its_words(live_server, recording):
    _, events = await converse(live_server, pcm_of(recording) + silence(800))
    assert words_of(text_of(events)) == words_of(recording.text)


async def test_the_last_words_are_not_lost_when_the_stream_ends_with_them(live_server, recording):
    _, events = await converse(live_server, pcm_of(recording))
    assert words_of(text_of(events)) == words_of(recording.text)


async def test_partials_come_while_the_person_still_speaks(live_server, english_recordings):
    fox = next(r for r in english_recordings if r.name == "quick_brown_fox")
    pcm = pcm_of(fox) + silence(800)
    events = []
    async with (
        asyncio.timeout(60),
        connect(live_server.stream_url, token=live_server.token(), sample_rate_hz=16_000) as stream,
        asyncio.TaskGroup() as tasks,
    ):

        async def send():
            for start in range(0, len(pcm), 640):
                await stream.send(pcm[start : start + 640])
                await asyncio.sleep(0.02)
            await stream.stop()

        tasks.create_task(send())
        events = [event async for event in stream]
    partials = [event for event in events if isinstance(event, Partial)]
    assert partials
    assert events.index(partials[0]) < next(i for i, e in enumerate(events) if isinstance(e, Final))
    stable = [partial.stable for partial in partials]
    assert all(b.startswith(a) for a, b in itertools.pairwise(stable))


async def test_words_have_times_inside_the_segment_and_confidences(live_server, english_recordings):
    pcm = silence(1500) + pcm_of(english_recordings[1]) + silence(800)
    _, events = await converse(live_server, pcm)
    [final] = [event for event in events if isinstance(event, Final)]
    assert " ".join(word.text for word in final.words) == final.text
    times = [time for word in final.words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert times[0] >= 1400
    assert times[-1] <= final.end_ms
    assert all(0 < word.confidence <= 1 for word in final.words)
    assert len({word.confidence for word in final.words}) > 1


async def test_silence_gives_no_words(live_server):
    _, events = await converse(live_server, silence(5000))
    assert text_of(events) == ""


async def test_two_sessions_at_once_do_not_mix(live_server, english_recordings):
    hello, fox, _ = english_recordings
    async with asyncio.TaskGroup() as tasks:
        one = tasks.create_task(converse(live_server, pcm_of(hello)))
        two = tasks.create_task(converse(live_server, pcm_of(fox)))
    assert words_of(text_of(one.result()[1])) == words_of(hello.text)
    assert words_of(text_of(two.result()[1])) == words_of(fox.text)


async def test_the_trail_has_the_session_and_not_its_words(live_server, english_recordings):
    fox = english_recordings[1]
    token = live_server.token(subject="bob")
    session_id, events = await converse(live_server, pcm_of(fox), token)
    assert "fox" in text_of(events)
    started, ended = live_server.trail(session_id=session_id)
    assert (started.event, ended.event) == ("session.started", "session.ended")
    assert started.subject == "bob"
    assert ended.reason == "stopped"
    assert ended.audio_ms == len(pcm_of(fox)) // 32
    places = live_server.settings.trail
    words = words_of_trail(places)
    assert "bob" in words
    assert not words & set(words_of(fox.text))
    trail = b"".join(path.read_bytes() for path in places.folder.glob("*.sqlite3*"))
    assert token.rsplit(".", 1)[1].encode() not in trail


async def test_the_log_has_no_words_and_no_token(live_server, english_recordings, capfd):
    token = live_server.token()
    _, events = await converse(live_server, pcm_of(english_recordings[1]), token)
    output = "".join(capfd.readouterr())
    assert not re.search(r"fox|lazy|eyJ", output)
    assert text_of(events)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["noise-dishes", "silence-room", "music-cold_day"])
async def test_what_is_not_speech_gives_no_words(live_server, shared_audio, name):
    [path] = [recording.path for recording in shared_audio if recording.id == name]
    decoded = miniaudio.decode_file(str(Path(path)), nchannels=1, sample_rate=16_000)
    _, events = await converse(live_server, decoded.samples.tobytes())
    assert text_of(events) == ""
