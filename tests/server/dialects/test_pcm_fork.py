"""Frames of those who fork bare samples in, what was heard out."""

from hypothesis import given
from hypothesis import strategies as st

from server import errors
from server.audio import AudioFormat, Encoding
from server.dialects.pcm_fork import PcmFork, PcmForkSettings
from server.dialects.pcm_profiles import (
    AsteriskProfile,
    BareProfile,
    JambonzListenProfile,
    JambonzSttProfile,
    VonageProfile,
)
from server.dialects.values import (
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    Opening,
    Stopped,
    Upgrade,
)

LINEAR = AudioFormat(Encoding.PCM_S16LE, 16_000)
ADMITTED = Admitted(frozenset({"en"}), "en")
PROFILES = (
    AsteriskProfile,
    BareProfile,
    JambonzListenProfile,
    JambonzSttProfile,
    VonageProfile,
)
STARTS = {
    AsteriskProfile: "MEDIA_START connection_id:us format:slin16 channel_id:1.2",
    BareProfile: "anything",
    JambonzListenProfile: '{"sampleRate":16000,"mixType":"mono"}',
    JambonzSttProfile: '{"type":"start","sampleRateHz":16000}',
    VonageProfile: '{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}',
}


def fork(profile=BareProfile, tracks=("caller",), audio_format=LINEAR, **query):
    settings = PcmForkSettings(audio_format, tracks)
    return PcmFork(profile(), settings, Upgrade("/", query=list(query.items())))


def admitted(*given, **query):
    it = fork(*given, **query)
    assert isinstance(it.receive("first")[0], Opening)
    it.tell(ADMITTED)
    return it


def test_audio_before_anybody_is_known_is_not_kept():
    it = fork()
    assert it.receive(b"\1\0" * 10) == [Opening(("caller",), LINEAR)]
    assert it.receive(b"\2\0" * 10) == []
    it.tell(ADMITTED)
    assert it.receive(b"\3\0" * 10) == [Audio(b"\3\0" * 10, 0)]


def test_half_a_sample_of_one_party_waits_for_its_other_half():
    it = admitted()
    assert it.receive(b"\1\0\2") == [Audio(b"\1\0", 0)]
    assert it.receive(b"\0") == [Audio(b"\2\0", 0)]
    assert it.receive(b"\3") == []


def test_a_frame_that_ends_between_two_parties_is_a_fault():
    it = admitted(BareProfile, ("caller", "callee"))
    assert it.receive(b"\1\0\2\0") == [Audio(b"\1\0\2\0", None)]
    assert it.receive(b"\1\0") == [Fault(errors.BAD_REQUEST, "samples_cut")]
    assert it.receive(b"\1\0\2\0") == []


def test_text_in_the_middle_is_not_looked_at():
    it = admitted()
    for text in ('{"event":"dtmf","digit":"5"}', "DTMF_END digit:5", "", "{"):
        assert it.receive(text) == []
    assert it.receive(b"\1\0") == [Audio(b"\1\0", 0)]


def test_the_end_closes_with_the_code_of_the_refusal():
    assert fork().tell(Ended()) == [Close(1000)]
    assert fork().tell(Ended(errors.QUOTA_AUDIO)) == [Close(4413)]


def test_a_jambonz_that_stops_wants_the_last_words():
    it = fork(JambonzSttProfile)
    it.receive(STARTS[JambonzSttProfile])
    it.tell(ADMITTED)
    assert it.receive('{"type": "stop"}') == [Stopped()]
    assert it.receive(b"\1\0") == []


FRAMES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=60),
    st.sampled_from([*STARTS.values(), '{"type":"stop"}', "MEDIA_START x", '{"event":"x"}']),
)


@given(st.sampled_from(PROFILES), st.lists(FRAMES, max_size=8), st.integers(0, 8))
def test_whatever_comes_there_is_one_opening_at_most_and_no_audio_before_it(profile, frames, at):
    it, heard, is_admitted = fork(profile), [], False
    for index, frame in enumerate(frames):
        new = it.receive(frame)
        assert is_admitted or not any(isinstance(each, Audio) for each in new)
        heard += new
        if index == at and any(isinstance(each, Opening) for each in heard):
            it.tell(ADMITTED)
            is_admitted = True
    kinds = [type(each) for each in heard]
    assert kinds.count(Opening) <= 1
    assert Audio not in kinds or kinds.index(Opening) < kinds.index(Audio)
    ends = [kind for kind in kinds if kind in {Fault, Stopped}]
    assert len(ends) <= 1
    assert not ends or kinds[-1] is ends[0]
