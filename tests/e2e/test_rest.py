"""Files in, words out: the real model behind HTTP, asked by OpenAI's own client."""

import asyncio
import contextlib
import http.client
import io
import json
import re
import sys

import numpy as np
import openai
import pytest
import soundfile
from openai import AsyncOpenAI, OpenAI

from security.limits import Limits
from tests.e2e.conftest import copy_data
from tests.e2e.test_stream import words_of
from tests.e2e.tracing import ROOT, traced
from tests.trail_rows import words_of_trail

MEBIBYTE = 1 << 20
MODEL = "whisper-1"


@pytest.fixture
def rest_server(live_server):
    return live_server


@pytest.fixture
def client(rest_server):
    with client_of(rest_server) as client:
        yield client


def client_of(server, token=None, kind=OpenAI, max_retries=0):
    return kind(
        base_url=f"{server.page_url}/v1", api_key=token or server.token(), max_retries=max_retries
    )


def encoded(recording, kind: str, **options) -> tuple[str, bytes]:
    """A file's name and bytes; what OpenAI's client takes."""
    samples, rate_hz = soundfile.read(io.BytesIO(recording.wav_bytes))
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format=kind.upper(), **options)
    return f"speech.{kind}", out.getvalue()


def wav(recording) -> tuple[str, bytes]:
    return "speech.wav", recording.wav_bytes


def post(server, path, body, headers=None, token=None):
    """Status, headers and body; what no client would send."""
    connection = http.client.HTTPConnection(server.page_url.removeprefix("http://"), timeout=60)
    try:
        given = {"authorization": f"Bearer {token or server.token()}", **(headers or {})}
        connection.request("POST", path, body, given)
        return answer_on(connection)
    finally:
        connection.close()


def answer_on(connection):
    with connection.getresponse() as response:
        return response.status, dict(response.getheaders()), response.read()


def begun(server, path, headers):
    """A request whose body does not come."""
    connection = http.client.HTTPConnection(server.page_url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("wav", {}),
        ("flac", {}),
        ("ogg", {"subtype": "VORBIS"}),
        ("ogg", {"subtype": "OPUS"}),
        ("mp3", {}),
    ],
)
def test_a_file_of_each_kind_comes_back_as_its_words(rest_server, client, fox, kind, options):
    file = encoded(fox, kind, **options)
    heard = client.audio.transcriptions.create(model=MODEL, file=file)
    assert words_of(heard.text) == words_of(fox.text)
    status, _, body = post(rest_server, "/api/recognize", file[1])
    assert (status, json.loads(body)) == (200, {"text": heard.text, "status": "ok"})


def test_verbose_json_has_segments_words_and_their_times(client, fox):
    heard = client.audio.transcriptions.create(
        model="tiny.en",
        file=wav(fox),
        language="en",
        prompt="Foxes and dogs.",
        temperature=0.2,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    duration_s = soundfile.info(io.BytesIO(fox.wav_bytes)).duration
    assert heard.language == "english"
    assert heard.duration == pytest.approx(duration_s, abs=0.01)
    assert heard.usage.type == "duration"
    assert " ".join(segment.text for segment in heard.segments) == heard.text
    assert " ".join(word.word for word in heard.words) == heard.text
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= duration_s
    assert all(segment.avg_logprob < 0 for segment in heard.segments)


def test_text_is_text(client, fox):
    heard = client.audio.transcriptions.create(model=MODEL, file=wav(fox), response_format="text")
    assert words_of(heard) == words_of(fox.text)


@pytest.mark.parametrize(("kind", "point"), [("srt", ","), ("vtt", r"\.")])
def test_subtitles_have_cues_in_order(client, fox, kind, point):
    heard = client.audio.transcriptions.create(model=MODEL, file=wav(fox), response_format=kind)
    time = rf"00:00:\d\d{point}\d{{3}}"
    spans = re.findall(rf"^({time}) --> ({time})$", heard, re.MULTILINE)
    times = [time for span in spans for time in span]
    assert times
    assert times == sorted(times)
    assert "fox" in heard.lower()


def test_a_stream_of_events_adds_up_to_the_text(client, english_recordings):
    samples = [soundfile.read(io.BytesIO(r.wav_bytes), dtype="float32") for r in english_recordings]
    pause = np.zeros(16_000, np.float32)
    rate_hz = samples[0][1]
    out = io.BytesIO()
    joined = [part for heard, _ in samples for part in (heard, pause)]
    soundfile.write(out, np.concatenate(joined), rate_hz, format="WAV")
    events = list(
        client.audio.transcriptions.create(
            model=MODEL, file=("speech.wav", out.getvalue()), stream=True
        )
    )
    *deltas, done = events
    assert len(deltas) > 1
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text
    assert words_of(done.text) == words_of(" ".join(r.text for r in english_recordings))


def test_the_model_is_listed_and_no_other_is_there(client, fox):
    assert [model.id for model in client.models.list()] == ["tiny.en"]
    with pytest.raises(openai.NotFoundError) as refused:
        client.audio.transcriptions.create(model="gpt-4o-transcribe-diarize", file=wav(fox))
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_key_that_is_not_good_is_refused_and_recorded(rest_server, fox):
    with client_of(rest_server, token="garbage") as client:  # noqa: S106 (that it is none is tested)
        with pytest.raises(openai.AuthenticationError) as refused:
            client.audio.transcriptions.create(model=MODEL, file=wav(fox))
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    assert refused.value.code == "invalid_api_key"
    assert rest_server.last_row("handshake.refused").reason == "token_malformed"


def test_a_quota_that_runs_out_is_told_as_such_and_not_tried_again(rest_server, fox):
    token = rest_server.token(limits=Limits(session_audio_s=1), subject="quota")
    with (
        client_of(rest_server, token, max_retries=2) as client,
        pytest.raises(openai.RateLimitError) as refused,
    ):
        client.audio.transcriptions.create(model=MODEL, file=wav(fox))
    assert refused.value.code == "quota_audio"
    ended = [row for row in rest_server.trail(event="session.ended") if row.subject == "quota"]
    assert [row.reason for row in ended] == ["quota_audio"]


@pytest.mark.parametrize(
    "options",
    [
        {"response_format": "diarized_json"},
        {"include": ["logprobs"]},
        {"language": "xx"},
        {"response_format": "srt", "stream": True},
        {"timestamp_granularities": ["word"]},
    ],
)
def test_what_cannot_be_given_is_refused_by_its_field(client, fox, options):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model=MODEL, file=wav(fox), **options)
    assert refused.value.param in {*options, "include[]", "timestamp_granularities[]"}


@pytest.mark.parametrize("body", [b"", b"garbage", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"\xff" * 9999])
def test_what_is_no_audio_is_refused(rest_server, client, body):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model=MODEL, file=("speech.wav", body))
    assert refused.value.code == "audio_unreadable"
    status, _, answer = post(rest_server, "/api/recognize", body)
    assert (status, json.loads(answer)) == (415, {"text": "", "status": "audio_unreadable"})


def test_a_file_that_breaks_off_in_the_middle_is_not_half_a_transcript(rest_server, fox):
    _, flac = encoded(fox, "flac")
    status, _, answer = post(rest_server, "/api/recognize", flac[: len(flac) * 2 // 3])
    assert (status, json.loads(answer)["status"]) == (415, "audio_unreadable")


def test_an_upload_that_is_too_big_is_refused_before_it_is_read(rest_server, client):
    big = bytes(26 * MEBIBYTE)
    with pytest.raises(openai.APIStatusError) as refused:
        client.audio.transcriptions.create(model=MODEL, file=("speech.wav", big))
    assert refused.value.status_code == 413

    authorization = f"Bearer {rest_server.token()}"
    headers = {"authorization": authorization, "content-length": str(1 << 40)}
    with contextlib.closing(begun(rest_server, "/api/recognize", headers)) as connection:
        status, answered, _ = answer_on(connection)
    assert (status, answered["connection"]) == (413, "close")


def test_a_body_without_a_length_is_taken_up_to_the_limit(rest_server, fox):
    status, _, answer = post(rest_server, "/api/recognize", iter([fox.wav_bytes]))
    assert status == 200
    assert "fox" in json.loads(answer)["text"].lower()
    try:
        status, _, _ = post(rest_server, "/api/recognize", (bytes(MEBIBYTE) for _ in range(100)))
    except ConnectionError:  # it was still sending when it was closed on
        status = 413
    assert status == 413


def test_a_stranger_is_refused_before_the_body_is_read(rest_server):
    headers = {"content-length": "1000000"}
    with contextlib.closing(begun(rest_server, "/v1/audio/transcriptions", headers)) as connection:
        status, answered, _ = answer_on(connection)
    assert (status, answered["connection"]) == (401, "close")


async def test_two_uploads_at_once_do_not_mix(rest_server, english_recordings):
    hello, fox, _ = english_recordings
    async with client_of(rest_server, kind=AsyncOpenAI) as client, asyncio.TaskGroup() as tasks:
        heard = [
            tasks.create_task(client.audio.transcriptions.create(model=MODEL, file=wav(recording)))
            for recording in (hello, fox)
        ]
    for task, recording in zip(heard, (hello, fox), strict=True):
        assert words_of(task.result().text) == words_of(recording.text)


def test_a_request_is_on_record_as_a_session_and_without_its_words(rest_server, client, fox):
    client.audio.transcriptions.create(model=MODEL, file=wav(fox), prompt="canary prompt")
    ended = rest_server.last_row("session.ended")
    assert ended.reason == "stopped"
    duration_s = soundfile.info(io.BytesIO(fox.wav_bytes)).duration
    assert ended.audio_ms == pytest.approx(duration_s * 1000, abs=10)
    words = words_of_trail(rest_server.settings.trail)
    assert "stopped" in words
    assert not words & {"canary", *words_of(fox.text)}


def test_no_upload_fills_the_log(rest_server, fox, capfd):
    """What reads MP3 in libsndfile says a word to each frame that is broken."""
    _, mp3 = encoded(fox, "mp3")
    broken = bytearray(mp3)
    broken[len(mp3) // 2 :: 97] = bytes(len(broken[len(mp3) // 2 :: 97]))
    assert post(rest_server, "/api/recognize", bytes(broken))[0] == 200
    post(rest_server, "/v1/audio/transcriptions", b"x", {"content-type": "multipart/form-data"})
    post(rest_server, "/api/recognize", b"RIFF0000WAVEfmt \x10\0\0\0\x55\0" + bytes(5000))
    assert "".join(capfd.readouterr()) == ""


UPLOAD = """
import io, os, subprocess, sys
import numpy, soundfile
from openai import OpenAI
server = subprocess.Popen([sys.executable, 'run.py', 'serve', '--port', '0'], cwd=sys.argv[1],
    stdout=subprocess.PIPE, text=True)
url = server.stdout.readline().split()[3]
noise = numpy.random.default_rng(0).integers(-30000, 30000, 10_000_000).astype('<i2')
noise[:8] = numpy.frombuffer(b'canary-of-audio!', '<i2')
out = io.BytesIO()
soundfile.write(out, noise, 48_000, format='WAV')
client = OpenAI(base_url=url + '/v1', api_key=os.environ['EW_TOKEN'], timeout=250)
client.audio.transcriptions.create(model='whisper-1', file=('x.wav', out.getvalue()))
server.terminate()
sys.exit(server.wait(60))
"""


def test_an_upload_of_20_mb_is_never_written_to_a_file(
    embedded_model_pack, tmp_path, rest_server, monkeypatch
):
    copy_data(embedded_model_pack, tmp_path / "data")
    monkeypatch.setenv("EW_TOKEN", rest_server.token())
    done, lines = traced(
        tmp_path / "data",
        "openat,open,creat,memfd_create,write,pwrite64,writev",
        *(sys.executable, "-c", UPLOAD, str(ROOT)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    opened = [line for line in lines if re.search(r"O_(WRONLY|RDWR)|creat\(", line)]
    assert any("audit/segment-" in line for line in opened)
    strange = [
        line
        for line in opened
        if not re.search(r"/audit/|/audit-|\.accepted-versions\.|/dev/|/proc/", line)
    ]
    assert strange == []
    assert not any("canary-of-audio!" in line for line in lines)
