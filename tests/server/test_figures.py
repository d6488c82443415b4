"""Events, answers and batches in; counts, distributions and latencies out, with closed names."""

import timeit

import pytest

from security.audit_events import EngineRestarted
from security.door_events import TicketIssued
from server import errors, wire
from server.figures import CLASS_OF, OTHER, Figures, Histogram, Recent, SessionWatch
from server.recognition import Urgency
from tests.server.audited import ended, event_of


def final(segment: int) -> wire.Final:
    return wire.Final(
        segment=segment, start_ms=0, end_ms=1, text="", language=None, confidence=0.0, words=[]
    )


def test_a_value_is_counted_within_its_bound_and_above_the_last():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 5.5)


def test_quantiles_are_values_that_were_there():
    recent = Recent()
    for hundredth in range(1, 101):
        recent.add(0.0, hundredth / 100)
    found = recent.quantiles(0.0)
    assert (found.n, found.p50_s, found.p95_s, found.p99_s) == (100, 0.5, 0.95, 0.99)


def test_quantiles_of_nothing_are_none():
    found = Recent().quantiles(0.0)
    assert (found.n, found.p50_s, found.p95_s, found.p99_s) == (0, None, None, None)


def test_what_is_recent_has_a_most_and_an_end():
    recent = Recent()
    for second in range(5000):
        recent.add(float(second), float(second))
    assert recent.quantiles(0.0).n == 4096
    assert recent.quantiles(4990.0).n == 10


def test_the_latency_of_the_last_minutes_is_told():
    figures = Figures()
    figures.receive_final(0.0, 9.0, 0.0)
    figures.receive_final(400.0, 0.2, 0.5)
    assert figures.latency(500.0).p99_s == 0.2
    assert figures.latency(500.0, window_s=600.0).n == 2


def test_a_final_is_timed_from_the_end_of_speech_and_from_the_sound():
    figures = Figures()
    watch = SessionWatch(figures)
    watch.receive_samples(32_000)
    watch.receive_event(wire.SpeechEnded(1, end_ms=1500), 10.0)
    watch.receive_event(final(1), 10.25)
    assert figures.final_latency_s[True].total == pytest.approx(0.25)
    assert figures.final_after_sound_s.total == pytest.approx(0.75)
    assert (figures.segments, figures.heard_samples) == (1, 32_000)


def test_a_file_is_not_among_the_streams():
    figures = Figures()
    watch = SessionWatch(figures, is_live=False)
    watch.receive_event(wire.SpeechEnded(1, end_ms=0), 10.0)
    watch.receive_event(final(1), 70.0)
    assert figures.final_latency_s[False].total == pytest.approx(60.0)
    assert figures.latency(70.0).n == 0


def test_segments_that_never_get_a_final_take_no_room():
    watch = SessionWatch(Figures())
    for segment in range(1000):
        watch.receive_event(wire.SpeechEnded(segment, end_ms=0), 10.0)
    assert len(watch._ended) <= 256


def test_other_news_for_the_client_is_not_timed():
    figures = Figures()
    SessionWatch(figures).receive_event(wire.SpeechStarted(1, 0), 10.0)
    assert (figures.segments, figures.latency(10.0).n) == (0, 0)


def test_only_captions_are_timed_from_their_asking():
    figures = Figures()
    watch = SessionWatch(figures)
    watch.receive_answer(Urgency.PARTIAL, 0.5)
    watch.receive_answer(Urgency.FINAL, 7.0)
    assert figures.partial_latency_s.total == 0.5


@pytest.mark.parametrize("reason", sorted(CLASS_OF))
def test_a_session_is_counted_by_why_it_ended(reason):
    figures = Figures()
    figures.receive_event(ended(reason))
    assert figures.ended[reason] == figures.events["session.ended"] == 1


def test_every_reason_that_ends_a_session_has_its_kind():
    codes = {each.code for each in errors.ALL}
    assert codes - set(CLASS_OF) == {
        *("address_blocked", "origin_refused", "too_many_sessions", "too_many_starts"),
        "trail_unavailable",
    }
    assert set(CLASS_OF) - codes == {"stopped", "client_gone", "cancelled"}


def test_reasons_that_are_not_ours_are_other():
    figures = Figures()
    figures.receive_event(ended("x"))
    figures.receive_event(EngineRestarted("tiny.en", "x"))
    figures.receive_refusal(errors.Refusal("x", 1, ""))
    assert figures.ended[OTHER] == figures.engine_restarts[OTHER] == figures.refused[OTHER] == 1


def test_events_are_counted_by_name():
    figures = Figures()
    figures.receive_event(event_of(TicketIssued))
    figures.receive_event(EngineRestarted("tiny.en", "hung"))
    assert figures.events["ticket.issued"] == figures.engine_restarts["hung"] == 1


def test_routes_have_a_most():
    figures = Figures()
    for number in range(1000):
        figures.receive_request(f"/{number}", 200)
    figures.receive_request("/1", 200)
    figures.receive_request(None, None)
    assert len(figures.requests) <= 257
    assert (figures.requests["/1", 200], figures.requests[OTHER, 0]) == (2, 745)


def test_batches_are_told_apart_by_what_they_were_for():
    figures = Figures()
    figures.receive_batch(3, 48_000, 0.5, is_final=True)
    figures.receive_batch(1, 16_000, 0.1, is_final=False)
    assert figures.decoded_samples == {True: 48_000, False: 16_000}
    assert figures.batch_utterances[True].total == 3
    assert figures.decode_s[False].total == 0.1


def test_a_frame_of_audio_costs_next_to_nothing():
    watch = SessionWatch(Figures())
    times_s = timeit.repeat(lambda: watch.receive_samples(512), number=10_000, repeat=5)
    assert min(times_s) / 10_000 < 10e-6  # 0.1 us, many times that where coverage is measured
