"""What is known to go wrong between telephone systems and recognisers, by the number it has in the
list: a provider's frames → a bridge → a session, and what came out of it.
"""

import base64
import json
from itertools import accumulate

import numpy as np
import pytest

from server import errors
from server.audio import AudioFormat, Encoding
from server.bridge import Bridge
from server.bridge_values import Admit, BridgeLimits, Cause, EndSession, ToCall, ToPeer, ToSession
from server.decode import Decoder
from server.dialects.media_streams import MediaStreams, MediaStreamsSettings
from server.dialects.values import Close
from server.listen_settings import ListenSettings
from server.resample import Resampler
from server.track import Score
from server.wire import Final
from tests.fakes import MODEL, ManualClock, Shell, new_session, silence, speech
from tests.server.dialects.media_simulator import (
    CALLEE,
    CALLER,
    SimulatedCall,
    TimedFrame,
    frames_of,
)

WORDS = speech(500, 8000) + silence(900, 8000)
CLAIM = "header.claims.signature"


class PhoneCall:
    """A provider's wire, a bridge and a session, carried out at once."""

    def __init__(self, **settings):
        self.clock = ManualClock()
        self.begun_s = self.clock()
        self.dialect = MediaStreams(MediaStreamsSettings(**settings))
        self.bridge = Bridge(self.dialect, BridgeLimits(), self.clock(), is_known=False)
        self.shell = Shell(new_session(self.clock), self.clock)
        self.actions = []
        self.n_told = 0
        self.has_ended = False

    def run(self, frames):
        """At the times at which they are sent."""
        for frame in frames:
            self.wait_until(self.begun_s + frame.at_ms / 1000)
            if frame.text is None:
                self.bridge.receive_gone(self.clock())
            else:
                self.bridge.receive_frame(frame.text, self.clock())
            self.settle()
        return self

    def wait_until(self, until_s):
        while self.bridge.next_deadline_s <= until_s:
            self.clock.now_s = max(self.clock(), self.bridge.next_deadline_s)
            self.bridge.tick(self.clock())
            self.settle()
        self.clock.now_s = max(self.clock(), until_s)

    def settle(self):
        while actions := self.bridge.actions():
            for action in actions:
                self.actions.append(action)
                self.carry_out(action)

    def carry_out(self, action):
        match action:
            case Admit():
                self.bridge.receive_admitted(self.clock())
            case EndSession(refusal):
                self.shell.session.refuse(refusal, self.clock())
                self.shell.settle()
            case ToSession(str() as text):
                self.shell.text(text)
            case ToSession(payload, channel):
                self.shell.session.receive_audio(payload, self.clock(), channel)
                self.shell.settle()
        while self.n_told < len(self.shell.events):
            self.n_told += 1
            event = self.shell.events[self.n_told - 1]
            self.bridge.receive_event(event, MODEL.languages, self.clock())
        if self.shell.close_code is not None and not self.has_ended:
            self.has_ended = True
            self.bridge.receive_session_end(self.clock())

    def finals(self, channel=0):
        said = [action.said.event for action in self.actions if isinstance(action, ToCall)]
        return [each for each in said if isinstance(each, Final) and each.channel == channel]

    def words(self, channel=0):
        return [(final.text, final.start_ms, final.end_ms) for final in self.finals(channel)]

    def scored(self, channel=0):
        """All that was put before the detector."""
        outputs = self.shell.outputs
        scores = [each for each in outputs if isinstance(each, Score) and each.channel == channel]
        return np.concatenate([score.samples.reshape(-1) for score in scores])

    def audio(self):
        frames = [action.frame for action in self.actions if isinstance(action, ToSession)]
        return b"".join(frame for frame in frames if isinstance(frame, bytes))

    @property
    def sent(self):
        return [action.frame for action in self.actions if isinstance(action, ToPeer)]


def run(parties, settings=None, **call):
    return PhoneCall(**(settings or {})).run(frames_of(SimulatedCall(**call), parties))


def media(payload, **fields):
    encoded = base64.b64encode(payload).decode()
    return json.dumps({"event": "media", "media": {"payload": encoded} | fields})


def bare(frame_bytes):
    """The same words as linear samples, in frames of any size without number or stamp, each sent
    when it has been spoken.
    """
    opening = frames_of(SimulatedCall("exotel"), {"inbound": silence(100, 8000)})[:2]
    parts = [WORDS[at : at + frame_bytes] for at in range(0, len(WORDS), frame_bytes)]
    spoken_bytes = list(accumulate(map(len, parts)))
    frames = [
        TimedFrame(n_bytes / 16, media(part))
        for n_bytes, part in zip(spoken_bytes, parts, strict=True)
    ]
    return [*opening, *frames, TimedFrame(frames[-1].at_ms, '{"event":"stop"}')]


def test_pitfall_1_silence_of_mulaw_is_ff_and_of_alaw_d5():
    samples = Decoder(AudioFormat(Encoding.MULAW, 8000)).decode(b"\x00\x80\x7f\xff") * 32768
    assert samples.tolist() == [-32124, 32124, 0, 0]
    for encoding, fill in ((Encoding.MULAW, b"\xff"), (Encoding.ALAW, b"\xd5")):
        frames = frames_of(SimulatedCall("signalwire", encoding), {"inbound": speech(400, 8000)})
        numbers = [json.loads(frame.text or "{}").get("media", {}).get("chunk") for frame in frames]
        lost = [frame for frame, n in zip(frames, numbers, strict=True) if n not in {"6", "7"}]
        call = PhoneCall().run(lost)
        assert call.audio()[800:1120] == fill * 320
        assert np.abs(call.scored()[1700:2100]).max() < 0.01


def test_pitfall_2_each_track_is_resampled_on_its_own_with_what_came_before():
    parties = {"inbound": WORDS, "outbound": speech(700, 8000, 0.3) + silence(700, 8000)}
    call = run(parties, flavour="signalwire", encoding=Encoding.PCM_S16LE)
    for channel, pcm in enumerate(parties.values()):
        whole = Decoder(AudioFormat(Encoding.PCM_S16LE, 8000)).decode(pcm)
        heard = Resampler(8000).resample(whole, is_last=True)
        scored = call.scored(channel)
        n_samples = min(heard.size, scored.size)
        assert n_samples > 22_000
        np.testing.assert_allclose(scored[:n_samples], heard[:n_samples], atol=1e-6)


def test_pitfall_3_what_a_telephone_sent_has_nothing_over_4_khz():
    noise = (np.random.default_rng(3).uniform(-0.5, 0.5, 8000) * 32767).astype("<i2").tobytes()
    scored = run({"inbound": noise}, flavour="exotel").scored()
    power = np.abs(np.fft.rfft(scored * np.hanning(scored.size))) ** 2
    frequencies_hz = np.fft.rfftfreq(scored.size, 1 / 16_000)
    below, above = frequencies_hz < 3700, frequencies_hz > 4300
    assert power[above].mean() < 1e-5 * power[below].mean()


@pytest.mark.parametrize("frame_bytes", [320, 1600, 15_999, 333])
def test_pitfall_4_frames_of_any_size_and_odd_ones_say_the_same(frame_bytes):
    whole, cut = PhoneCall().run(bare(320)), PhoneCall().run(bare(frame_bytes))
    assert [text for text, _, _ in cut.words()] == [text for text, _, _ in whole.words()]
    assert cut.audio() == whole.audio() == WORDS


@pytest.mark.parametrize("is_big_endian", [False, True])
def test_pitfall_5_the_byte_order_of_linear_samples_is_the_settings(is_big_endian):
    settings = {"is_l16_big_endian": is_big_endian}
    call = run({"inbound": WORDS}, settings, flavour="telnyx", encoding=Encoding.PCM_S16BE)
    expected = np.frombuffer(WORDS, "<i2" if is_big_endian else ">i2").astype(np.float32) / 32768
    np.testing.assert_allclose(call.scored()[0::2][:11_000], expected[:11_000], atol=1e-6)


def test_pitfall_6_frames_that_overtake_or_come_twice_say_the_same():
    in_order = run({"inbound": WORDS})
    shuffled = run(
        {"inbound": WORDS}, most_overtaking_chunks=3, duplicate_share=0.3, is_number_text=False
    )
    assert shuffled.words() == in_order.words()
    assert shuffled.audio() == in_order.audio()
    assert shuffled.bridge.losses.duplicate_frames > 0


def test_pitfall_6_numbers_that_begin_again_are_no_late_frames():
    frames = frames_of(SimulatedCall(is_stop_sent=False, is_hung_up=False), {"inbound": WORDS})
    again = [TimedFrame(frames[-1].at_ms + frame.at_ms, frame.text) for frame in frames[2:]]
    call = PhoneCall().run([*frames, *again])
    assert len(call.finals()) == 2
    assert call.bridge.losses.late_frames == call.bridge.losses.duplicate_frames == 0


def test_pitfall_7_a_pause_that_is_not_sent_ends_what_is_said_and_keeps_the_time():
    pcm = speech(600, 8000) + silence(5000, 8000) + speech(600, 8000) + silence(900, 8000)
    sent = run({"inbound": pcm})
    left_out = run({"inbound": pcm}, is_silence_sent=False)
    assert len(left_out.words()) == len(sent.words()) == 2
    assert all(text for text, _, _ in left_out.words())
    for (_, sent_ms, _), (_, heard_ms, _) in zip(sent.words(), left_out.words(), strict=True):
        assert abs(sent_ms - heard_ms) <= 64
    assert len(left_out.audio()) < len(sent.audio())


def test_pitfall_7_a_burst_is_placed_by_its_stamps():
    assert run({"inbound": WORDS}, burst_ms=1000).words() == run({"inbound": WORDS}).words()


def test_pitfall_7_frames_that_just_stop_end_what_is_said():
    frames = frames_of(
        SimulatedCall(is_stop_sent=False, is_hung_up=False), {"inbound": speech(500, 8000)}
    )
    call = PhoneCall().run(frames)
    assert call.finals() == []
    call.wait_until(call.clock() + 0.5)
    assert len(call.finals()) == 1


def test_pitfall_8_two_tracks_finish_at_times_of_their_own_and_stop_is_of_both():
    parties = {"inbound": speech(400, 8000), "outbound": silence(1000, 8000) + speech(500, 8000)}
    call = run(parties)
    [first], [second] = call.words(0), call.words(1)
    assert first[2] < 1000 <= second[1] + 600
    assert first[0]
    assert second[0]


def test_pitfall_9_a_track_that_is_not_to_be_heard_costs_nothing():
    parties = {"inbound": WORDS, "outbound": WORDS}
    call = run(parties, {"tracks": ("inbound",)})
    assert len(call.finals()) == 1
    assert len(call.audio()) == len(WORDS) // 2
    assert call.actions[0].opening.tracks == ("inbound",)


def test_pitfall_10_a_flood_before_anybody_is_known_is_closed_undecoded():
    call = PhoneCall().run([TimedFrame(0, '{"event":"connected"}')] * 11)
    assert call.sent == [Close(4401)]
    assert call.bridge.cause == Cause.of(errors.UNAUTHENTICATED)
    silent = PhoneCall()
    silent.wait_until(silent.clock() + 5)
    assert silent.sent == [Close(4408)]
    early = PhoneCall().run([TimedFrame(0, media(b"\xff" * 160))])
    assert early.sent == [Close(4400)]
    for refused in (call, silent, early):
        assert not [action for action in refused.actions if isinstance(action, ToSession)]


def test_pitfall_11_a_frame_has_a_largest_size_and_a_smaller_one_before_anybody_is_known():
    assert ListenSettings().most_frame_bytes <= 1 << 18
    connected = json.dumps({"event": "connected", "pad": "x" * 9000})
    assert PhoneCall().run([TimedFrame(0, connected)]).sent == [Close(4401)]
    call = run({"inbound": WORDS[:8000]}, is_stop_sent=False, is_hung_up=False)
    long = media(b"\xff" * 49_152)
    assert len(long) > 1 << 16
    call.run([TimedFrame(600, long)])
    assert call.sent == [Close(1009)]
    assert len(call.finals()) == 1, "what was said before is heard"


def test_pitfall_12_what_is_unknown_is_ignored_and_what_changes_the_meaning_refused():
    assert (
        run({"inbound": WORDS}, has_unknown_events=True).words() == run({"inbound": WORDS}).words()
    )
    for changed in ({"encoding": "audio/opus"}, {"sampleRate": 8001}, {"channels": 2}):
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000} | changed
        start = {"event": "start", "start": {"callSid": "CA1", "mediaFormat": media_format}}
        call = PhoneCall().run([TimedFrame(0, json.dumps(start))])
        assert call.sent == [Close(4415)]


def test_pitfall_13_no_words_go_down_a_wire_that_takes_none():
    call = run({"inbound": WORDS})
    assert any(isinstance(action, ToCall) for action in call.actions)
    assert call.sent == [Close(1000)]


@pytest.mark.parametrize("is_stop_sent", [True, False])
def test_pitfall_14_what_is_being_said_at_the_hang_up_is_said_before_the_end(is_stop_sent):
    call = run({"inbound": speech(500, 8000)}, is_stop_sent=is_stop_sent)
    [text] = [text for text, _, _ in call.words()]
    assert text
    assert isinstance(call.actions[-1], ToPeer if is_stop_sent else ToCall)
    assert call.bridge.is_over


def test_pitfall_15_keys_numbers_and_tokens_are_not_repeated():
    parameters = {"token": CLAIM, "card": "4111"}
    call = run({"inbound": WORDS}, flavour="telnyx", digits="7731", parameters=parameters)
    frames = [action.frame for action in call.actions if isinstance(action, ToSession)]
    told = " ".join(frame for frame in frames if isinstance(frame, str))
    shown = repr([action for action in call.actions if not isinstance(action, ToSession)])
    assert call.actions[0].opening.token == CLAIM
    assert len(call.finals()) == 1
    for secret in (CLAIM, CALLER, CALLEE, "4111", "7731"):
        assert secret not in told
        assert secret not in shown
