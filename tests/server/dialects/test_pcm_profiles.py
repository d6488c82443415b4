"""First texts as each telephone system sends them, openings out."""

import json

import pytest

from server import errors, wire
from server.audio import AudioFormat, Encoding
from server.dialects.pcm_fork import PcmForkSettings
from server.dialects.pcm_profiles import (
    AsteriskProfile,
    BareProfile,
    JambonzListenProfile,
    JambonzSttProfile,
    VonageProfile,
)
from server.dialects.values import Ended, Opening, Said, Upgrade
from server.errors import RefusedError

LINEAR = AudioFormat(Encoding.PCM_S16LE, 16_000)
SETTINGS = PcmForkSettings(LINEAR, ("caller", "callee"))
DIALLED = "us/c(slin16)f(json)d(in)v(call=c1,track=customer,token=secret)"


def media_start(**given):
    return json.dumps(
        {
            "event": "MEDIA_START",
            "connection_id": "us",
            "channel": "WebSocket/us/0x7fa798002a60",
            "channel_id": "1795609381.2",
            "format": "slin16",
            "optimal_frame_size": 640,
            "ptime": 20,
            "channel_variables": {"DIALEDPEERNUMBER": DIALLED},
            **given,
        }
    )


PLAIN = (
    "MEDIA_START connection_id:us channel:WebSocket/us/0x555588901340 channel_id:1795609385.5 "
    "format:ulaw optimal_frame_size:160 ptime:20"
)


def opened(profile, text, settings=SETTINGS, **query):
    return profile().first(text, Upgrade("/", query=list(query.items())), settings)


def why_refused(profile, text):
    with pytest.raises(RefusedError) as refused:
        opened(profile, text)
    return refused.value.reason


def test_asterisks_start_in_json_names_the_call_as_it_was_dialled():
    assert opened(AsteriskProfile, media_start()) == Opening(("customer",), LINEAR, call_id="c1")


def test_what_asterisk_wants_encoded_has_one_name_on_either_wire():
    dialled = "us/c(slin16)f(json)v(call=SIP%2Ftrunk-0001)"
    start = media_start(channel_variables={"DIALEDPEERNUMBER": dialled})
    assert opened(AsteriskProfile, start).call_id == "SIP/trunk-0001"
    assert opened(AsteriskProfile, PLAIN, call="SIP/trunk-0001").call_id == "SIP/trunk-0001"


def test_what_asterisk_kept_of_a_former_call_does_not_count():
    text = media_start(channel_variables={"DIALEDPEERNUMBER": "us/c(alaw)f(json)d(in)"})
    opening = opened(AsteriskProfile, text, call="former", track="agent")
    assert (opening.call_id, opening.tracks) == ("1795609381.2", ("inbound",))


def test_asterisks_plain_start_is_read_too_and_named_by_the_address():
    mulaw = AudioFormat(Encoding.MULAW, 8_000)
    assert opened(AsteriskProfile, PLAIN) == Opening(("inbound",), mulaw, call_id="1795609385.5")
    opening = opened(AsteriskProfile, PLAIN, call="c2", track="agent", language="de")
    assert (opening.call_id, opening.tracks, opening.language) == ("c2", ("agent",), "de")


def test_the_settings_name_what_asterisk_sends_if_they_want():
    settings = PcmForkSettings(LINEAR, ("party",), is_named=True)
    assert opened(AsteriskProfile, media_start(), settings).tracks == ("party",)


@pytest.mark.parametrize(
    ("name", "encoding", "rate_hz"),
    [
        ("ulaw", Encoding.MULAW, 8_000),
        ("alaw", Encoding.ALAW, 8_000),
        ("slin", Encoding.PCM_S16LE, 8_000),
        ("slin48", Encoding.PCM_S16LE, 48_000),
        ("slin44", Encoding.PCM_S16LE, 44_100),
    ],
)
def test_asterisks_formats(name, encoding, rate_hz):
    opening = opened(AsteriskProfile, media_start(format=name))
    assert opening.audio_format == AudioFormat(encoding, rate_hz)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "media_before_start"),
        (media_start(format="opus"), "codec_unsupported"),
        (media_start(event="MEDIA_STOP"), "start_malformed"),
        ("MEDIA_START connection_id:us", "start_malformed"),
        ("hello", "start_malformed"),
        ("[" * 2000, "start_malformed"),
        (media_start(channel_id="x" * 200), "start_malformed"),
    ],
)
def test_what_is_no_start_of_asterisks_is_refused(text, reason):
    assert why_refused(AsteriskProfile, text) == reason


def test_bare_samples_are_what_the_settings_say_whatever_the_text():
    for text in (None, "anything", '{"call": 5}', '{"language":"german"}'):
        assert opened(BareProfile, text) == Opening(("caller", "callee"), LINEAR)


def test_a_text_before_bare_samples_may_name_the_call():
    opening = opened(BareProfile, '{"call":"c1","language":"de-CH","more":[]}')
    assert (opening.call_id, opening.language) == ("c1", "de")
    assert opened(BareProfile, '{"call":"c\\n1"}').call_id is None


def test_vonages_own_fields_are_merged_into_its_first_text():
    text = (
        '{"event":"websocket:connected","content-type":"audio/l16;rate=8000","call":"c1",'
        '"track":"agent","language":"en-GB","agent":42}'
    )
    narrow = AudioFormat(Encoding.PCM_S16LE, 8_000)
    assert opened(VonageProfile, text) == Opening(("agent",), narrow, "c1", "en")


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [("audio/opus", "codec_unsupported"), ("audio/l16;rate=11025", "codec_unsupported")],
)
def test_what_vonage_does_not_send_is_refused(content_type, reason):
    text = json.dumps({"event": "websocket:connected", "content-type": content_type})
    assert why_refused(VonageProfile, text) == reason
    assert why_refused(VonageProfile, None) == "media_before_start"
    assert why_refused(VonageProfile, '{"event":"websocket:dtmf","digit":"5"}') == "start_malformed"


def test_jambonz_listens_to_both_parties_or_to_one():
    text = (
        '{"callSid":"s1","from":"+15550100","to":"+15550199","sampleRate":8000,'
        '"mixType":"stereo","language":"de-DE"}'
    )
    narrow = AudioFormat(Encoding.PCM_S16LE, 8_000)
    assert opened(JambonzListenProfile, text) == Opening(
        ("caller", "callee"), narrow, "s1", "de", caller="+15550100", callee="+15550199"
    )
    mono = opened(JambonzListenProfile, '{"call_sid":"s2","sampleRate":"16000"}')
    assert (mono.tracks, mono.call_id) == (("caller",), "s2")
    named = '{"callSid":"s1","sampleRate":8000,"call":"c1","language":{"of":"the application"}}'
    assert opened(JambonzListenProfile, named).call_id == "c1"
    assert opened(JambonzListenProfile, named).language is None
    assert why_refused(JambonzListenProfile, '{"sampleRate":11025}') == "rate_unsupported"
    assert why_refused(JambonzListenProfile, "{}") == "start_malformed"
    assert why_refused(JambonzListenProfile, None) == "media_before_start"


START = {
    "type": "start",
    "language": "en-US",
    "format": "raw",
    "encoding": "LINEAR16",
    "interimResults": True,
    "sampleRateHz": 8000,
    "options": {},
}


def test_a_vendors_client_of_jambonz_says_its_channels_in_the_address():
    narrow = AudioFormat(Encoding.PCM_S16LE, 8_000)
    text = json.dumps(START)
    assert opened(JambonzSttProfile, text) == Opening(("caller",), narrow, language="en")
    assert opened(JambonzSttProfile, text, channels="2").tracks == ("caller", "callee")
    assert why_refused(JambonzSttProfile, json.dumps({**START, "encoding": "OPUS"}))
    assert why_refused(JambonzSttProfile, json.dumps({**START, "type": "stop"}))
    assert why_refused(JambonzSttProfile, None) == "media_before_start"


def told(profile, *given):
    return [json.loads(text) for each in given for text in profile.told(each)]


PARTIAL = Said(1, wire.Partial(0, 1, 0, 500, "hello ", "wor", channel=1))
FINAL = Said(1, wire.Final(0, 0, 900, "hello world", "en", 0.93, [], channel=1))
EMPTY = Said(0, wire.Final(1, 0, 900, "", "en", 0.1, []))


def test_jambonz_is_told_finals_and_captions_only_if_it_asked_for_them():
    profile = JambonzSttProfile()
    profile.first(json.dumps({**START, "interimResults": False}), Upgrade("/"), SETTINGS)
    [final] = told(profile, PARTIAL, FINAL, EMPTY, Ended())
    assert final == {
        "type": "transcription",
        "is_final": True,
        "alternatives": [{"transcript": "hello world", "confidence": 0.93}],
        "channel": 2,
        "language": "en",
    }
    profile.first(json.dumps(START), Upgrade("/"), SETTINGS)
    partial, _ = told(profile, PARTIAL, FINAL)
    assert (partial["is_final"], partial["alternatives"][0]["transcript"]) == (False, "hello wor")


def test_jambonz_is_told_why_it_ended():
    assert told(JambonzSttProfile(), Ended(errors.QUOTA_AUDIO)) == [
        {"type": "error", "error": errors.QUOTA_AUDIO.text}
    ]


@pytest.mark.parametrize(
    "profile", [AsteriskProfile, BareProfile, VonageProfile, JambonzListenProfile]
)
def test_no_word_goes_down_a_wire_that_has_no_place_for_it(profile):
    assert told(profile(), PARTIAL, FINAL, Ended(errors.IDLE)) == []
    assert not profile().is_end('{"type":"stop"}')
