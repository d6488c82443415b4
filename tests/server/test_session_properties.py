"""The conversation under any cut, in any order, for any time: no sockets, no model."""

from dataclasses import replace

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from security.door_events import SessionEnded
from server.session_values import Record, Reserve, Send
from server.track import Score, Transcribe
from server.wire import Final, Partial, SpeechEnded, SpeechStarted
from tests.fakes import (
    FLUSH,
    GRANT,
    START,
    STOP,
    FakeDetector,
    ManualClock,
    Shell,
    hear,
    limited,
    message_of,
    new_session,
    new_shell,
    silence,
    speech,
)


def outputs_of(shell: Shell) -> list[str]:
    """Everything that came out, with the windows that were scored joined together."""
    outputs, windows = [], b""
    for output in shell.outputs:
        if isinstance(output, Score):
            windows += output.samples.tobytes()
        elif isinstance(output, Transcribe):
            outputs.append(
                f"{output.segment}.{output.revision} {hash(output.utterance.samples.tobytes())}"
            )
        elif isinstance(output, Send):
            outputs.append(msgspec.json.encode(output.event).decode())
        else:
            outputs.append(repr(output))
    return [*outputs, str(hash(windows))]


@settings(max_examples=60, deadline=None)
@given(
    rate_hz=st.sampled_from([8000, 16_000, 24_000, 44_100, 48_000]),
    lengths_ms=st.lists(st.integers(0, 1500), min_size=1, max_size=5),
    frame_bytes=st.integers(1, 9000),
)
@example(rate_hz=8000, lengths_ms=[1089], frame_bytes=2178)
def test_splitting_the_same_bytes_anywhere_gives_the_same_actions(rate_hz, lengths_ms, frame_bytes):
    start = f'{{"type":"start","sample_rate_hz":{rate_hz}}}'
    data = b"".join(
        speech(length_ms, rate_hz, 0.4 + 0.1 * index) + silence(length_ms, rate_hz)
        for index, length_ms in enumerate(lengths_ms)
    )
    whole = new_shell(start).audio(data, frame_bytes=640).text(STOP)
    split = new_shell(start).audio(data, frame_bytes=frame_bytes).text(STOP)
    assert outputs_of(split) == outputs_of(whole)


MOST_FRAME_MS = 4500


class Conversations(RuleBasedStateMachine):
    """A peer, an engine and a detector that do everything at any time, in any order."""

    @initialize(
        bytes_limit=st.none() | st.integers(0, 400_000), day_s=st.none() | st.integers(0, 12)
    )
    def begin(self, bytes_limit, day_s):
        self.clock = ManualClock()
        grant = limited(session_bytes=bytes_limit, audio_s_per_day=day_s)
        self.session = new_session(self.clock, grant)
        self.scores, self.requests = [], []
        self.wishes_ms, self.day_s, self.day_ms = [], day_s, (day_s or 0) * 1000
        self.reserved_ms = 0
        self.events, self.records, self.codes = [], [], []
        self.was_cut_off = False
        self.drain()

    def drain(self):
        for action in self.session.actions():
            assert not self.codes, "something after Close"
            match action:
                case Score():
                    self.scores.append(action)
                case Transcribe():
                    self.requests.append(action)
                case Send(event):
                    self.events.append(event)
                case Record(event):
                    self.records.append(event)
                case Reserve(audio_ms):
                    self.reserve(audio_ms)
                case _:
                    self.codes.append(action.code)

    def reserve(self, audio_ms):
        if audio_ms > 0:
            self.wishes_ms.append(audio_ms)
        else:
            self.day_ms -= audio_ms

    @precondition(lambda self: self.wishes_ms)
    @rule()
    def answer_wish(self):
        wished_ms = self.wishes_ms.pop(0)
        got_ms = min(wished_ms, self.day_ms)
        if self.session.is_closed:
            return
        self.day_ms -= got_ms
        self.reserved_ms += got_ms
        self.session.receive_reserved(wished_ms, got_ms)
        self.drain()

    @rule(expires_in_s=st.floats(0, 9000), subject=st.sampled_from(["alice", "alice", "mallory"]))
    def refresh(self, expires_in_s, subject):
        newer = replace(GRANT, subject=subject, expires_in_s=expires_in_s)
        self.session.receive_grant(newer, self.clock())
        self.drain()

    @rule(frame=st.sampled_from([START, STOP, FLUSH, FLUSH, '{"type":"keep_alive"}', "garbage"]))
    def send_text(self, frame):
        self.session.receive_message(message_of(frame), self.clock())
        self.drain()

    @rule(speech_ms=st.integers(0, 3000), silence_ms=st.integers(0, 1500))
    def send_audio(self, speech_ms, silence_ms):
        self.session.receive_audio(speech(speech_ms) + silence(silence_ms), self.clock())
        self.drain()

    @precondition(lambda self: self.scores)
    @rule()
    def answer_score(self):
        self.session.receive_scores(FakeDetector().score(self.scores.pop(0).samples))
        self.drain()

    @precondition(lambda self: self.requests)
    @rule(index=st.integers(0, 50), fails=st.sampled_from([False, False, False, True]))
    def answer_request(self, index, fails):
        request = self.requests.pop(index % len(self.requests))
        who = (request.segment, request.revision)
        if fails:
            self.session.receive_failure(*who, self.clock())
            self.was_cut_off |= self.session.is_closed
        else:
            self.session.receive_hypothesis(*who, hear(request.utterance))
        self.drain()

    @rule(duration_s=st.floats(0, 20))
    def let_time_pass(self, duration_s):
        self.clock.move(duration_s)
        was_closed = self.session.is_closed
        self.session.tick(self.clock())
        self.drain()
        if not was_closed and self.session.is_closed:
            self.was_cut_off |= self.records[-1].reason == "internal"

    @rule()
    def vanish(self):
        self.was_cut_off |= not self.session.is_closed
        self.session.receive_gone()
        self.drain()

    @invariant()
    def it_ends_at_most_once(self):
        ends = [record for record in self.records if isinstance(record, SessionEnded)]
        assert len(ends) == len(self.codes) <= 1

    @invariant()
    def of_a_day_no_more_is_spent_than_there_is_and_one_frame(self):
        ends = [record for record in self.records if isinstance(record, SessionEnded)]
        if self.day_s is not None and ends:
            assert ends[0].audio_ms <= self.day_s * 1000 + MOST_FRAME_MS

    @invariant()
    def what_was_reserved_and_not_spent_is_given_back(self):
        ends = [record for record in self.records if isinstance(record, SessionEnded)]
        if self.day_s is not None and ends:
            spent_ms = min(ends[0].audio_ms, self.reserved_ms)
            assert abs(self.day_s * 1000 - self.day_ms - spent_ms) <= 1

    @invariant()
    def every_segment_is_started_ended_and_settled_in_order(self):
        for kind in (SpeechStarted, SpeechEnded, Final):
            numbers = [event.segment for event in self.events if isinstance(event, kind)]
            assert numbers == list(range(len(numbers)))

    @invariant()
    def stable_text_only_grows(self):
        stable = {}
        for event in self.events:
            if isinstance(event, Partial):
                assert event.stable.startswith(stable.get(event.segment, ""))
                stable[event.segment] = event.stable

    @invariant()
    def a_session_that_ended_in_peace_owes_no_final(self):
        if self.session.is_closed and not self.was_cut_off:
            started = [event for event in self.events if isinstance(event, SpeechStarted)]
            finals = [event for event in self.events if isinstance(event, Final)]
            assert len(finals) == len(started)


Conversations.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_interleaving_keeps_the_invariants = Conversations.TestCase


def test_memory_stays_bounded_through_an_hour_of_silence_and_speech():
    shell = new_shell('{"type":"start","sample_rate_hz":16000,"partials":false}')
    minute = silence(20_000) + speech(20_000) + (speech(900) + silence(900)) * 11
    for _ in range(60):
        shell.audio(minute, frame_bytes=32_000)
        shell.events.clear()
        shell.outputs.clear()
        shell.recognizer.heard.clear()
    held = shell.session._tracks._tracks[0]._buffer._held
    assert held.nbytes < 60 * 16_000 * 4
