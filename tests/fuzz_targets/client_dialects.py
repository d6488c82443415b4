"""Frames of clients of other people's APIs, through each dialect: text and binary, by lines."""

import json

from msgspec import UNSET

from server import wire
from server.client_apis import client_apis
from server.client_settings import ClientSettings
from server.dialects.translation import Broken, DeclinedError, Hear, Host, Say
from server.dialects.values import Reply, Upgrade
from server.recognition import ModelCard

_APIS = client_apis(ClientSettings(vosk=True, whisper_live=True))
_HOST = Host(ModelCard("tiny", frozenset({"en", "de"})), lambda: "0" * 36, 0.0)
_USAGE = wire.Usage(0, 0, 0, 0)
_WORD = wire.WordEvent("word", 0, 100, 0.5)
SEEDS = [
    b'/v1/realtime?intent=transcription\n{"type":"session.update","session":{"type":"transcription",'
    b'"audio":{"input":{"format":{"type":"audio/pcm","rate":24000},"transcription":{"model":'
    b'"whisper-1","language":"en","prompt":"a b"},"turn_detection":{"type":"server_vad",'
    b'"silence_duration_ms":500}}}}}\n{"type":"input_audio_buffer.append","audio":"AAAA"}\n'
    b'{"type":"input_audio_buffer.commit"}\n{"type":"input_audio_buffer.clear"}',
    b'/v1/realtime?intent=transcription\n{"type":"transcription_session.update","session":{'
    b'"input_audio_format":"g711_ulaw","input_audio_transcription":{"model":"whisper-1"},'
    b'"turn_detection":null,"include":["item.input_audio_transcription.logprobs"]}}\n'
    b'{"type":"input_audio_buffer.append","audio":"AAAA"}\n{"type":"input_audio_buffer.commit"}',
    b"/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true&vad_events=true"
    b"&utterance_end_ms=1000&endpointing=300&keyterm=a\n\xff\x01\x02\n"
    b'{"type":"Finalize"}\n{"type":"KeepAlive"}\n{"type":"CloseStream"}',
    b"/v1/listen?encoding=mulaw&sample_rate=8000&channels=2&multichannel=true\n\xff\x01\x02\n"
    b'{"type":"CloseStream"}',
    b'/v1/vosk\n{ "config" : { "sample_rate" : 16000, "words" : 1, "max_alternatives" : 2 } }\n'
    b'\xff\x01\x02\n{"reset" : 1}\n\xff\x03\x04\n{"eof" : 1}',
    b'/v1/vosk\n\xff\x01\x02\n{"config":{"sample_rate":"8000.0","phrase_list":["a"]}}\n{"eof":1}',
    b'/v1/whisper-live\n{"uid":"u","language":null,"task":"transcribe","model":"small",'
    b'"send_last_n_segments":2,"word_timestamps":true,"initial_prompt":"names","hotwords":"a b"}\n'
    b"\xff\x00\x00\x80\x3f\x00\n\xff\x00\xc0\x7f\n\xffEND_OF_AUDIO",
    b'/v1/whisper-live\n{"uid":"u","audio_format":"uint8","enable_diarization":true}\n\xff\x00',
]


def fuzz_client_dialects(data: bytes) -> None:
    """The first line is the path, with a query; a line that begins with 0xff is binary. What is
    said to the session is a message of its own protocol, `start` comes once and before audio, and
    what the client is told is JSON.
    """
    target, *lines = data.split(b"\n")
    path, _, query = target.decode("utf-8", "replace").partition("?")
    api = next((api for api in _APIS if path in api.paths), None)
    if api is None:
        return
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&"))]
    upgrade = Upgrade(target.decode("utf-8", "replace"), query=pairs)
    try:
        dialect = api.new_dialect(upgrade, _HOST)
    except DeclinedError:
        return
    said = [_checked(each) for each in dialect.open()]
    for number, line in enumerate(lines):
        frame = line[1:] if line.startswith(b"\xff") else line.decode("utf-8", "replace")
        said += [_checked(each) for each in dialect.receive(frame)]
        for event in _events(number):
            for told in dialect.tell(event):
                json.loads(told)
    for event in (wire.ErrorEvent("internal", "text", True), wire.Ended("internal", _USAGE)):
        for told in dialect.tell(event):
            json.loads(told)
    to_session = [each for each in said if isinstance(each, wire.Start | wire.Flush | bytes)]
    starts = [each for each in to_session if isinstance(each, wire.Start)]
    assert len(starts) <= 1
    assert not to_session or to_session[0] in starts


def _checked(each: Say | Hear | Reply | Broken) -> object:
    match each:
        case Say(message):
            assert wire.decode_client_message(wire.encode(message)) == message
            return message
        case Hear(payload):
            return payload
        case Reply(frame):
            json.loads(frame)
    return None


def _events(number: int) -> list[wire.ServerEvent]:
    start_ms, end_ms = number * 1000, number * 1000 + 500
    return [
        wire.SpeechStarted(number, start_ms),
        wire.Partial(number, 0, start_ms, end_ms, "word", " and"),
        wire.SpeechEnded(number, end_ms, is_cut=True if number % 2 else UNSET),
        wire.Final(number, start_ms, end_ms, "word", "en", 0.5, [_WORD]),
        wire.Flushed(end_ms),
    ]
