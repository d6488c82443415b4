"""What telephone systems send, in a bench."""

import base64
import json

import pytest

from bench.audiohook_caller import AudioHook, signed
from bench.callers import Asterisk, Call, Jambonz, MediaStreams

PARTIES = (bytes(range(256)) * 5, bytes(reversed(range(256))) * 5)
CALL = Call("a-token", PARTIES)
VECTOR_SECRET = base64.b64decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")
VECTOR_HOST = "audiohook.example.com"
VECTOR_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"


def test_media_streams_number_and_stamp_the_frames_of_each_track():
    frames = [json.loads(due.message)["media"] for due in MediaStreams(2).audio(CALL)]
    for track, party in zip(("inbound", "outbound"), PARTIES, strict=True):
        mine = [frame for frame in frames if frame["track"] == track]
        assert b"".join(base64.b64decode(frame["payload"]) for frame in mine) == party
        assert [frame["chunk"] for frame in mine] == [str(n + 1) for n in range(8)]
        assert [frame["timestamp"] for frame in mine] == [str(n * 20) for n in range(8)]


def test_media_streams_tell_the_token_in_a_header_and_the_call_after_the_beginning():
    _, start = (json.loads(message) for message in MediaStreams().opening(CALL))
    assert start["start"]["callSid"] == CALL.id
    headers = MediaStreams().headers(CALL, "ws://here/", 0.0)
    assert headers == {"x-telnyx-streaming-auth-token": CALL.token}


def test_asterisk_sends_bare_frames_as_they_are_spoken():
    dues = list(Asterisk().audio(CALL))
    assert b"".join(due.message for due in dues) == PARTIES[0]
    assert [due.at_s for due in dues] == pytest.approx([n * 0.02 for n in range(1, 9)])
    [start] = Asterisk().opening(CALL)
    assert json.loads(start)["event"] == "MEDIA_START"


def test_asterisk_has_the_token_as_its_password():
    basic = Asterisk().headers(CALL, "ws://here/", 0.0)["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic) == b"jwt:a-token"


def test_jambonz_sends_the_same_sound_as_linear_samples():
    samples = b"".join(due.message for due in Jambonz().audio(CALL))
    assert samples[:2] == (-32124).to_bytes(2, "little", signed=True)
    assert len(samples) == 2 * len(PARTIES[0])


def test_audiohook_interleaves_the_parties():
    caller = AudioHook(VECTOR_KEY, VECTOR_SECRET, "wss://here/hook")
    dues = list(caller.audio(CALL))
    together = b"".join(due.message for due in dues)
    assert (together[0::2], together[1::2]) == PARTIES
    assert dues[-1].at_s == pytest.approx(0.16)


def test_audiohook_counts_its_messages_and_those_it_heard():
    caller = AudioHook(VECTOR_KEY, VECTOR_SECRET, "wss://here/hook")
    [opened] = caller.opening(CALL)
    caller.hear('{"type":"opened","seq":1}')
    [closed] = caller.closing(CALL)
    told = [(m["seq"], m["serverseq"], m["position"]) for m in map(json.loads, (opened, closed))]
    assert told == [(1, 0, "PT0.000S"), (2, 1, "PT0.160S")]


def test_audiohook_signs_as_the_vendors_example_does():
    headers = {
        "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
        "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
        "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
        "x-api-key": VECTOR_KEY,
    }
    parameters = (
        f'keyid="{VECTOR_KEY}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256";'
        "created=1641013200;expires=3282026430"
    )
    url = f"wss://{VECTOR_HOST}/api/v1/voicebiometrics/ws"
    made = signed(headers, url, parameters, VECTOR_SECRET)
    assert made["Signature"] == "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"
