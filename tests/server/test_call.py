"""One call: its events, its clock, its end, and whoever reads it however slowly."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server import wire
from server.call import Call, CallsSettings
from server.call_values import CallTrack, Role

CUSTOMER, AGENT = CallTrack("inbound", Role.CUSTOMER), CallTrack("outbound", Role.AGENT)
SETTINGS = CallsSettings()


def new_call(settings=SETTINGS, now_s=100.0, first_seq=1, tell=lambda: None):
    return Call("c-1", settings, now_s, tell, first_seq)


def partial(segment, revision=0, start_ms=0, text="hel"):
    return wire.Partial(segment, revision, start_ms, start_ms + 100, "", text)


def final(segment, start_ms=0, text="hello"):
    word = wire.WordEvent(text, start_ms + 10, start_ms + 90, 0.5)
    return wire.Final(segment, start_ms, start_ms + 100, text, "en", 0.5, [word])


def read(call, seq=0):
    told = []
    while kept := call.next_after(seq):
        seq = kept.seq
        told.append(json.loads(kept.text))
    return told


def kinds(told):
    return [event["type"] for event in told]


def test_a_call_tells_who_takes_part_what_they_say_and_that_it_is_over():
    call = new_call()
    seat = call.join("s-1", [CUSTOMER, AGENT], 100.0)
    seat.say(1, wire.SpeechStarted(0, 20), 100.2)
    seat.say(1, partial(0, start_ms=20), 100.3)
    seat.say(1, wire.SpeechEnded(0, 120), 100.4)
    seat.say(1, final(0, start_ms=20), 100.5)
    seat.leave("stopped", 101.0)
    call.tick(106.0, 5.0)
    told = read(call)
    assert kinds(told) == [
        *("call_started", "track_started", "track_started", "speech_started", "speech_ended"),
        *("final", "track_ended", "track_ended", "call_ended"),
    ]
    assert told[0] == {"type": "call_started", "seq": 1, "at_ms": 0, "call": "c-1"}
    assert told[2] == {
        "type": "track_started",
        "seq": 3,
        "at_ms": 0,
        "track": 1,
        "role": "agent",
        "name": "outbound",
        "session_id": "s-1",
    }
    assert told[5] == {
        "type": "final",
        "seq": 7,
        "at_ms": 500,
        "track": 1,
        "role": "agent",
        "segment": 0,
        "start_ms": 20,
        "end_ms": 120,
        "text": "hello",
        "language": "en",
        "confidence": 0.5,
        "words": [{"text": "hello", "start_ms": 30, "end_ms": 110, "confidence": 0.5}],
        "word_times": "measured",
    }
    assert told[-1] == {"type": "call_ended", "seq": 10, "at_ms": 6000, "reason": "stopped"}


def test_who_joins_later_speaks_by_the_calls_clock():
    call = new_call()
    call.join("s-1", [CUSTOMER], 100.0)
    later = call.join("s-2", [AGENT], 102.5)
    later.say(0, wire.SpeechStarted(0, 20), 103.0)
    later.say(0, partial(0, start_ms=20), 103.0)
    later.say(0, wire.SpeechEnded(0, 120), 103.0)
    assert [event["track"] for event in read(call)[-3:]] == [1, 1, 1]
    assert [event.get("start_ms") for event in read(call)[-3:]] == [2520, 2520, None]
    assert read(call)[-1]["end_ms"] == 2620
    later.say(0, final(0, start_ms=20), 103.0)
    assert read(call)[-1]["words"][0]["start_ms"] == 2530


def test_a_caption_that_was_replaced_is_not_told_to_who_comes_late():
    call = new_call()
    seat = call.join("s-1", [CUSTOMER, AGENT], 100.0)
    seat.say(0, partial(0, 0, text="one"), 100.0)
    seat.say(1, partial(0, 0, text="other"), 100.0)
    seat.say(0, partial(0, 1, text="one two"), 100.0)
    assert [event["unstable"] for event in read(call)[3:]] == ["other", "one two"]
    seat.say(0, final(0), 100.0)
    assert kinds(read(call)[3:]) == ["partial", "final"]


def test_the_last_caption_of_what_has_no_final_stays():
    call = new_call()
    seat = call.join("s-1", [CUSTOMER], 100.0)
    seat.say(0, partial(0, text="I am"), 100.0)
    seat.leave("client_gone", 100.5)
    assert kinds(read(call)[2:]) == ["partial", "track_ended"]


def test_a_call_waits_for_the_next_connection_and_goes_on_with_it():
    call = new_call()
    first = call.join("s-1", [CUSTOMER], 100.0)
    first.leave("stopped", 101.0)
    call.tick(105.9, 5.0)
    second = call.join("s-2", [AGENT], 105.9)
    call.tick(200.0, 5.0)
    assert call.over_s is None
    second.leave("client_gone", 200.0)
    call.tick(204.9, 5.0)
    assert call.over_s is None
    call.tick(205.0, 5.0)
    call.tick(206.0, 5.0)
    assert (call.over_s, call.last_seq) == (205.0, 6)
    assert read(call)[-1]["reason"] == "client_gone"


def test_who_has_left_is_not_heard_and_leaves_once():
    call = new_call()
    seat, other = call.join("s-1", [CUSTOMER], 100.0), call.join("s-2", [AGENT], 100.0)
    seat.leave("stopped", 101.0)
    seat.leave("idle", 101.5)
    seat.say(0, final(0), 102.0)
    assert not call.is_vacant
    assert kinds(read(call)) == ["call_started", "track_started", "track_started", "track_ended"]
    other.leave("stopped", 103.0)
    assert call.is_vacant


def test_what_is_kept_has_a_bound_and_who_missed_something_is_told():
    call = new_call(replace(SETTINGS, most_kept_events=16))
    seat = call.join("s-1", [CUSTOMER], 100.0)
    for segment in range(20):
        seat.say(0, final(segment), 100.0)
    told = read(call)
    assert told[0] == {"type": "skipped", "seq": 6}
    assert [event["segment"] for event in told[1:]] == list(range(4, 20))
    assert kinds(read(call, 6)) == ["final"] * 16
    assert (call.count_after(0), call.count_after(20)) == (16, 2)


def test_what_is_kept_has_a_bound_in_bytes():
    call = new_call(replace(SETTINGS, most_kept_bytes=65_536))
    seat = call.join("s-1", [CUSTOMER], 100.0)
    for segment in range(40):
        seat.say(0, partial(segment, text="short"), 100.0)
        seat.say(0, final(segment, text="x" * 4000), 100.0)
    told = read(call)
    assert sum(len(json.dumps(event)) for event in told) < 66_000
    assert kinds(told) == ["skipped", *["final"] * (len(told) - 1)]


def test_the_bound_counts_bytes_and_not_characters():
    call = new_call(replace(SETTINGS, most_kept_bytes=65_536))
    seat = call.join("s-1", [CUSTOMER], 100.0)
    for segment in range(20):
        seat.say(0, final(segment, text="\u6c34" * 1000), 100.0)
    finals = [event for event in read(call) if event["type"] == "final"]
    assert 8 <= len(finals) <= 10  # a text and a word of it each, of three bytes a character


def test_a_caption_that_was_forgotten_is_not_taken_out_again():
    call = new_call(replace(SETTINGS, most_kept_events=16))
    seat = call.join("s-1", [CUSTOMER, AGENT], 100.0)
    seat.say(0, partial(0), 100.0)
    for segment in range(16):
        seat.say(1, final(segment), 100.0)
    seat.say(0, final(0), 100.0)
    assert kinds(read(call)) == ["skipped", *["final"] * 16]


def test_a_call_that_begins_again_counts_on_and_skips_nothing():
    call = new_call(first_seq=21)
    assert [event["seq"] for event in read(call)] == [21]
    assert read(call, 17) == read(call, 0)


def test_whoever_reads_is_told_that_there_is_something():
    told = []
    call = new_call(tell=lambda: told.append(1))
    seat = call.join("s-1", [CUSTOMER], 100.0)
    seat.say(0, final(0), 100.0)
    seat.leave("stopped", 100.0)
    call.tick(200.0, 5.0)
    assert len(told) == 5


@given(st.floats(-10, 10))
def test_no_time_is_before_the_call(before_s):
    call = new_call()
    call.join("s-1", [CUSTOMER], 100.0 + before_s)
    assert read(call)[1]["at_ms"] >= 0


class Reading(RuleBasedStateMachine):
    """Connections that join, speak and leave at any time, and readers that break off, come back and
    are slow.
    """

    def __init__(self):
        super().__init__()
        self.call, self.now_s = new_call(now_s=0.0), 0.0
        self.seats, self.said = [], []
        self.readers = {}

    @initialize()
    def begin(self):
        self.join(1)

    @precondition(lambda self: self.call.over_s is None)
    @rule(n_tracks=st.integers(1, 2))
    def join(self, n_tracks):
        seat = self.call.join("s", [CUSTOMER, AGENT][:n_tracks], self.now_s)
        self.seats.append((seat, n_tracks))

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), n_partials=st.integers(0, 3), has_final=st.booleans())
    def speak(self, data, n_partials, has_final):
        seat, n_tracks = data.draw(st.sampled_from(self.seats))
        channel = data.draw(st.integers(0, n_tracks - 1))
        segment = len(self.said)
        for revision in range(n_partials):
            seat.say(channel, partial(segment, revision), self.now_s)
        if has_final:
            text = f"final {segment}"
            seat.say(channel, final(segment, text=text), self.now_s)
            self.said.append(text)

    @precondition(lambda self: self.seats)
    @rule(data=st.data())
    def leave(self, data):
        index = data.draw(st.integers(0, len(self.seats) - 1))
        self.seats.pop(index)[0].leave("stopped", self.now_s)

    @rule(duration_s=st.floats(0, 4))
    def wait(self, duration_s):
        self.now_s += duration_s
        self.call.tick(self.now_s, 5.0)

    @rule(name=st.sampled_from("abc"), n_events=st.integers(1, 30), n_lost=st.integers(0, 5))
    def read_on(self, name, n_events, n_lost):
        """Takes so many; the last of them are lost on the way, and asked for again."""
        has = self.readers.setdefault(name, [])
        seq, told = has[-1]["seq"] if has else 0, []
        while len(told) < n_events and (kept := self.call.next_after(seq)):
            seq = kept.seq
            told.append(json.loads(kept.text))
        has += told[: max(0, len(told) - n_lost)]

    @invariant()
    def every_reader_has_the_first_finals_once_and_in_order(self):
        for has in self.readers.values():
            finals = [event["text"] for event in has if event["type"] == "final"]
            assert finals == self.said[: len(finals)]
            assert [event["seq"] for event in has] == sorted({event["seq"] for event in has})

    @invariant()
    def who_reads_to_the_end_has_all_of_them(self):
        told = read(self.call)
        assert [event["text"] for event in told if event["type"] == "final"] == self.said
        assert (told[-1]["type"] == "call_ended") == (self.call.over_s is not None)

    @invariant()
    def no_more_captions_than_open_segments_are_kept(self):
        captions = [e for e in read(self.call) if e["type"] == "partial"]
        assert len({(e["track"], e["segment"]) for e in captions}) == len(captions)


Reading.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_every_reader_has_every_final_once_and_in_order_whatever_happens = Reading.TestCase
