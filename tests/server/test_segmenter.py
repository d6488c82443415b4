"""Probabilities in, spans out."""

from hypothesis import given
from hypothesis import strategies as st

from server.audio import WINDOW_SAMPLES
from server.segmenter import (
    Segmenter,
    SegmenterSettings,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
)

WINDOW_MS = 32
SETTINGS = SegmenterSettings(
    shortest_speech_ms=96,
    pre_roll_ms=64,
    pause_ms=96,
    end_of_speech_ms=320,
    soft_cut_ms=3200,
    hard_cut_ms=6400,
    hard_cut_search_ms=640,
)


def run(*runs: tuple[float, int], segmenter: Segmenter | None = None):
    """Events of runs of (probability, number of windows)."""
    segmenter = segmenter or Segmenter(SETTINGS)
    return segmenter.receive_probabilities([p for p, n_windows in runs for _ in range(n_windows)])


def spans(events):
    """Start and end of each segment, in windows."""
    starts = [e.start_sample // WINDOW_SAMPLES for e in events if isinstance(e, SpeechStarted)]
    ends = [e.end_sample // WINDOW_SAMPLES for e in events if isinstance(e, SpeechEnded)]
    return list(zip(starts, ends, strict=False))


def test_silence_gives_nothing():
    assert run((0.0, 500)) == []


def test_speech_begins_with_its_pre_roll_and_ends_with_the_pause_after_it():
    assert spans(run((0.0, 10), (1.0, 20), (0.0, 20))) == [(8, 33)]


def test_a_pause_is_told_at_once_and_ends_where_the_segment_then_ends():
    events = run((1.0, 20), (0.0, 20))
    [paused] = [event for event in events if isinstance(event, SpeechPaused)]
    assert events[-1] == SpeechEnded(paused.end_sample)


def test_a_breath_does_not_cut_a_sentence():
    events = run((1.0, 20), (0.0, 7), (1.0, 20))
    assert [type(event) for event in events] == [SpeechStarted, SpeechPaused, SpeechResumed]


def test_the_limit_counts_from_the_end_of_speech_which_is_heard_two_windows_late():
    [_, _, ended] = run((1.0, 20), (0.0, SETTINGS.end_of_speech_ms // WINDOW_MS - 2))
    assert isinstance(ended, SpeechEnded)


def test_the_shortest_silence_is_not_even_a_pause():
    assert [type(event) for event in run((1.0, 20), (0.0, 2), (1.0, 20))] == [SpeechStarted]


def test_a_click_opens_nothing():
    assert run((0.0, 10), (1.0, 2), (0.0, 50)) == []


def test_clicks_far_apart_do_not_add_up():
    assert run(*[(1.0, 2), (0.0, 10)] * 20) == []


def test_clicks_close_together_are_speech():
    assert [type(event) for event in run(*[(1.0, 2), (0.0, 2)] * 5)][:1] == [SpeechStarted]


def test_doubt_goes_on_with_what_was_before():
    assert run((0.4, 100)) == []
    assert [type(event) for event in run((1.0, 20), (0.4, 40))] == [SpeechStarted]


def test_doubt_after_silence_is_silence():
    assert isinstance(run((1.0, 20), (0.0, 1), (0.4, 40))[-1], SpeechEnded)


def test_pre_roll_never_reaches_into_the_segment_before():
    settings = SegmenterSettings(pre_roll_ms=2000, end_of_speech_ms=200)
    events = run((1.0, 20), (0.0, 12), (1.0, 20), (0.0, 40), segmenter=Segmenter(settings))
    (_, first_end), (second_start, _) = spans(events)
    assert second_start == first_end


def test_pre_roll_never_reaches_before_the_stream():
    assert run((1.0, 20))[0] == SpeechStarted(0, 0)


def test_a_long_segment_is_cut_at_the_first_pause():
    events = run((1.0, 110), (0.0, 3), (1.0, 20))
    assert spans(events) == [(0, 113)]


def ends(events):
    return [event.is_cut for event in events if isinstance(event, SpeechEnded)]


def test_the_end_of_a_segment_says_whether_it_was_only_long():
    assert ends(run((1.0, 110), (0.0, 3), (1.0, 20))) == [True]
    assert ends(run((1.0, 96), (0.0, 7), (1.0, 20))) == [True]
    assert ends(run((1.0, 230))) == [True]
    assert ends(run((1.0, 20), (0.0, 20))) == [False]


def test_a_long_segment_whose_silence_is_over_too_was_not_cut():
    assert ends(run((1.0, 92), (0.0, 8))) == [False]


def test_a_segment_without_pauses_is_cut_at_its_quietest_window():
    events = run((1.0, 190), (0.6, 1), (1.0, 30))
    [(_, end)] = spans(events)
    assert end == 191
    assert events[-1] == SpeechStarted(191 * WINDOW_SAMPLES, 191 * WINDOW_SAMPLES)


def test_close_ends_an_open_segment_where_it_is_told():
    segmenter = Segmenter(SETTINGS)
    run((1.0, 20), segmenter=segmenter)
    assert segmenter.close(10_000) == [SpeechEnded(10_000)]
    assert not segmenter.is_open


def test_close_in_a_pause_ends_at_the_pause():
    segmenter = Segmenter(SETTINGS)
    events = run((1.0, 20), (0.0, 5), segmenter=segmenter)
    assert segmenter.close(99_999) == [SpeechEnded(events[-1].end_sample)]


def test_close_takes_what_may_become_speech_for_speech():
    segmenter = Segmenter(SETTINGS)
    run((0.0, 10), (1.0, 1), segmenter=segmenter)
    assert segmenter.close(11 * WINDOW_SAMPLES) == [
        SpeechStarted(8 * WINDOW_SAMPLES, 10 * WINDOW_SAMPLES),
        SpeechEnded(11 * WINDOW_SAMPLES),
    ]


def test_what_follows_a_close_has_nothing_of_what_came_before_it():
    for before in [(0.0, 20)], [(1.0, 20), (0.0, 5)]:
        segmenter = Segmenter(SETTINGS)
        run(*before, segmenter=segmenter)
        n_windows = sum(n for _, n in before)
        segmenter.close(n_windows * WINDOW_SAMPLES)
        started = run((1.0, 20), segmenter=segmenter)[0]
        assert started.start_sample == n_windows * WINDOW_SAMPLES


def test_close_in_silence_does_nothing():
    assert Segmenter(SETTINGS).close(5) == []


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), st.integers(1, 120)), max_size=20
    )
)
def test_spans_are_ordered_disjoint_bounded_and_cover_all_speech(runs):
    segmenter = Segmenter(SETTINGS)
    n_windows = sum(n for _, n in runs)
    events = run(*runs, segmenter=segmenter)
    events += segmenter.close(n_windows * WINDOW_SAMPLES)
    found = spans(events)
    assert len(found) == sum(isinstance(event, SpeechStarted) for event in events)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges)
    assert all(0 < end - start <= 6400 // WINDOW_MS for start, end in found)
    covered = {window for start, end in found for window in range(start, end)}
    position = 0
    for probability, length in runs:
        if probability >= SETTINGS.start_probability and length >= 3:
            assert covered.issuperset(range(position, position + length))
        position += length


@given(st.lists(st.sampled_from([0.0, 0.4, 1.0]), max_size=600), st.integers(1, 50))
def test_feeding_windows_in_any_portions_gives_the_same_events(probabilities, portion):
    whole, parts = Segmenter(SETTINGS), Segmenter(SETTINGS)
    expected = whole.receive_probabilities(probabilities)
    events = []
    for start in range(0, len(probabilities), portion):
        events += parts.receive_probabilities(probabilities[start : start + portion])
        assert parts.needed_from_sample <= start * WINDOW_SAMPLES + portion * WINDOW_SAMPLES
    assert events == expected
