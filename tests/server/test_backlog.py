"""Who is decoded next, and with whom."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.backlog import Backlog, BacklogSettings, Key, Request
from server.recognition import Urgency, Utterance
from tests.fakes import ManualClock

FINAL, LIKELY, PARTIAL = Urgency.FINAL, Urgency.LIKELY, Urgency.PARTIAL
ONE_BY_ONE = BacklogSettings(most_utterances=1)
FINAL_S_PER_S = 0.02
"""Engine time for a second of padded audio, until it is known better."""
PARTIAL_S_PER_S = 0.01


def asked(
    name: int | str,
    urgency: Urgency = FINAL,
    *,
    subject: str = "alice",
    length_s: float = 1.0,
    number: int = 0,
    is_alone: bool = False,
) -> Request:
    """A request of a session called `name`; its padded audio is a second longer than `length_s`."""
    samples = np.zeros(int(length_s * 16_000), np.float32)
    key = Key(subject, str(name), 0)
    return Request(number, key, Utterance(samples, urgency is not PARTIAL), urgency, is_alone)


def names(batch: list[Request]) -> list[str]:
    return [request.key.session_id for request in batch]


def filled(*requests: Request, limits: BacklogSettings | None = None) -> Backlog:
    backlog = Backlog(limits or BacklogSettings())
    for request in requests:
        backlog.add(request)
    return backlog


def take_all(backlog: Backlog, now_s: float = 0.0) -> list[list[str]]:
    batches = []
    while batch := backlog.take(now_s):
        batches.append(names(batch))
    return batches


def test_nothing_waits_at_first():
    backlog = Backlog(BacklogSettings())
    assert backlog.is_empty
    assert backlog.take(0.0) == []
    assert backlog.next_s(0.0) is None
    assert not backlog.is_full(0.0)


# --- urgencies ---


def test_finals_come_before_likely_ones_and_those_before_partials():
    backlog = filled(asked("p", PARTIAL), asked("l", LIKELY), asked("f"), limits=ONE_BY_ONE)
    assert take_all(backlog) == [["f"], ["l"], ["p"]]


def test_likely_ones_fill_the_batch_that_finals_began():
    assert take_all(filled(asked("l", LIKELY), asked("f"))) == [["f", "l"]]


def test_partials_are_never_decoded_with_finals():
    assert take_all(filled(asked("f"), asked("p", PARTIAL))) == [["f"], ["p"]]


def test_equals_are_decoded_in_the_order_in_which_they_came():
    backlog = filled(*(asked(n) for n in range(5)), limits=ONE_BY_ONE)
    assert take_all(backlog) == [["0"], ["1"], ["2"], ["3"], ["4"]]


# --- a newer request with the same key ---


def test_a_newer_request_takes_the_older_ones_place_in_the_line():
    old, new = asked("a", number=1), asked("a", number=2)
    backlog = filled(old, asked("b"), limits=ONE_BY_ONE)
    assert backlog.add(new) is old
    assert backlog.take(0.0) == [new]
    assert take_all(backlog) == [["b"]]


def test_the_first_request_for_a_key_replaces_nothing():
    backlog = Backlog(BacklogSettings())
    assert backlog.add(asked("a")) is None
    assert backlog.add(asked("b")) is None


@pytest.mark.parametrize("older", Urgency)
@pytest.mark.parametrize("newer", Urgency)
def test_a_newer_request_is_the_only_one_whatever_their_urgencies(older, newer):
    old, new = asked("a", older, number=1), asked("a", newer, number=2)
    backlog = filled(old)
    assert backlog.add(new) is old
    assert backlog.take(0.0) == [new]
    assert backlog.is_empty


@pytest.mark.parametrize("part", ["subject", "session_id", "segment"])
def test_keys_that_differ_in_one_part_are_different_requests(part):
    first = asked("a", number=1)
    other = replace(first, number=2, key=first.key._replace(**{part: 7}))
    backlog = filled(first)
    assert backlog.add(other) is None
    assert sorted(request.number for request in backlog.drain()) == [1, 2]


def test_replacing_does_not_pay_for_a_place_twice():
    backlog = Backlog(ONE_BY_ONE)
    for number in range(20):
        backlog.add(asked("a1", number=number))
    backlog.add(asked("a2"))
    for name in ("b1", "b2", "b3"):
        backlog.add(asked(name, subject="bob"))
    assert take_all(backlog) == [["a1"], ["b1"], ["a2"], ["b2"], ["b3"]]


# --- subjects ---


@pytest.mark.parametrize("urgency", Urgency)
def test_a_subject_with_fifty_waiting_does_not_stand_before_the_first_of_another(urgency):
    limits = BacklogSettings(most_utterances=1, partial_batch_s=100.0)
    backlog = filled(*(asked(n, urgency) for n in range(50)), limits=limits)
    for name in ("b1", "b2", "b3"):
        backlog.add(asked(name, urgency, subject="bob"))
    assert [name for [name] in take_all(backlog)[:7]] == ["0", "b1", "1", "b2", "2", "b3", "3"]


def test_subjects_share_by_audio_and_not_by_requests():
    backlog = filled(*(asked(f"a{n}", length_s=5.0) for n in range(20)), limits=ONE_BY_ONE)
    for number in range(40):
        backlog.add(asked(f"b{number}", subject="bob", length_s=1.0))
    first = [name[0] for [name] in take_all(backlog)[:24]]
    assert first.count("b") == 3 * first.count("a")


def test_a_subject_that_asked_for_nothing_so_far_has_saved_nothing_up():
    backlog = filled(*(asked(f"a{n}") for n in range(30)), limits=ONE_BY_ONE)
    for _ in range(20):
        backlog.take(0.0)
    for number in range(5):
        backlog.add(asked(f"b{number}", subject="bob"))
    assert [name[0] for [name] in take_all(backlog)[:6]].count("b") == 3


def test_a_subject_that_had_its_turn_waits_for_the_others_though_its_line_was_empty():
    backlog = filled(asked("a1", length_s=9.0), limits=ONE_BY_ONE)
    backlog.add(asked("b1", subject="bob"))
    backlog.add(asked("b2", subject="bob"))
    assert backlog.take(0.0)[0].key.session_id == "a1"
    backlog.add(asked("a2"))
    assert take_all(backlog) == [["b1"], ["b2"], ["a2"]]


def test_what_was_taken_back_is_not_charged_to_its_subject():
    backlog = Backlog(ONE_BY_ONE)
    gone = [asked(n, number=n, length_s=20.0) for n in range(50)]
    for request in gone:
        backlog.add(request)
    for request in gone:
        backlog.remove(request)
    for number in range(5):
        backlog.add(asked(f"b{number}", subject="bob"))
    backlog.add(asked("a"))
    assert [name for [name] in take_all(backlog)[:2]] == ["b0", "a"]


def test_what_grew_while_it_waited_is_charged_for_what_is_decoded():
    backlog = Backlog(ONE_BY_ONE)
    for number in range(10):
        backlog.add(asked(f"a{number}", length_s=0.0))
        backlog.add(asked(f"a{number}", length_s=9.0))
        backlog.add(asked(f"b{number}", subject="bob", length_s=9.0))
    assert [name[0] for [name] in take_all(backlog)[:10]].count("a") == 5


def test_subjects_of_the_past_leave_nothing_behind():
    backlog = Backlog(ONE_BY_ONE)
    for number in range(100):
        for urgency in Urgency:
            backlog.add(asked(number, urgency, subject=str(number)))
            backlog.take(1000.0 * number)
    for number in range(100):
        request = asked("gone", PARTIAL, subject=str(number))
        backlog.add(request)
        backlog.remove(request)
    assert backlog.is_empty
    assert remembered_subjects(backlog) == 0


def remembered_subjects(backlog: Backlog) -> int:
    return sum(len(line.ends_by_subject) for line in backlog._lines.values())


# --- batches ---


def test_a_batch_holds_no_more_utterances_than_the_limit():
    backlog = filled(*(asked(n) for n in range(10)), limits=BacklogSettings(most_utterances=4))
    assert [len(batch) for batch in take_all(backlog)] == [4, 4, 2]


@pytest.mark.parametrize("urgency", [FINAL, LIKELY])
def test_a_batch_of_finals_ends_where_it_would_take_too_long(urgency):
    # Each is 6 s of padded audio: 0.12 s of the engine.
    backlog = filled(
        *(asked(n, urgency, length_s=5.0) for n in range(7)),
        limits=BacklogSettings(final_batch_s=0.4),
    )
    assert [len(batch) for batch in take_all(backlog)] == [3, 3, 1]


def test_a_batch_of_partials_has_a_limit_of_its_own():
    # Each is 6 s of padded audio: 0.06 s of the engine.
    backlog = filled(
        *(asked(n, PARTIAL, length_s=5.0) for n in range(5)),
        limits=BacklogSettings(final_batch_s=9.0, partial_batch_s=0.2),
    )
    assert len(backlog.take(0.0)) == 3


def test_the_short_ones_of_a_batch_cost_what_the_longest_costs():
    backlog = filled(asked("long", length_s=5.0), *(asked(n) for n in range(3)))
    assert take_all(backlog) == [["long", "0", "1"], ["2"]]


def test_the_first_is_taken_however_long_it_is():
    assert take_all(filled(asked("long", length_s=30.0), asked("b"))) == [["long"], ["b"]]


def test_what_failed_with_others_is_decoded_by_itself():
    backlog = filled(
        asked(1), asked("x", is_alone=True), asked("y", is_alone=True), asked(2), asked(3)
    )
    assert take_all(backlog) == [["1"], ["x"], ["y"], ["2", "3"]]


# --- the engine's speed ---


def taken_in(backlog: Backlog, name: str, urgency: Urgency, took_s: float) -> None:
    """One batch of one utterance of 5 s, decoded in `took_s`."""
    backlog.add(asked(name, urgency, length_s=5.0))
    batch = backlog.take(0.0)
    assert len(batch) == 1
    backlog.finish(batch, took_s, 0.0)


def first_batch(backlog: Backlog, urgency: Urgency) -> int:
    for number in range(20):
        backlog.add(asked(number, urgency, length_s=5.0))
    return len(backlog.take(10_000.0))


def test_batches_grow_to_what_a_faster_engine_decodes_in_time():
    backlog = Backlog(BacklogSettings(most_utterances=20))
    for _ in range(50):
        taken_in(backlog, "a", FINAL, 0.12 / 3)
    assert first_batch(backlog, FINAL) == 9


def test_batches_shrink_to_what_a_slower_engine_decodes_in_time():
    backlog = Backlog(BacklogSettings())
    for _ in range(50):
        taken_in(backlog, "a", FINAL, 0.18)
    assert first_batch(backlog, FINAL) == 2


def test_one_slow_batch_does_not_make_the_engine_slow():
    backlog = Backlog(BacklogSettings())
    taken_in(backlog, "a", FINAL, 0.18)
    assert first_batch(backlog, FINAL) == 3


def test_a_batch_of_mixed_lengths_shows_the_speed_of_its_padded_audio():
    backlog = filled(asked("long", length_s=5.0), asked("short", length_s=1.0))
    waited_s = backlog.expected_wait_s()
    batch = backlog.take(0.0)
    backlog.finish(batch, 2 * 6.0 * FINAL_S_PER_S, 0.0)
    for request in batch:
        backlog.add(request)
    assert backlog.expected_wait_s() == pytest.approx(waited_s)


def test_the_speed_of_finals_tells_nothing_of_partials():
    limits = BacklogSettings(final_batch_s=0.4, partial_batch_s=0.2)
    backlog = Backlog(limits)
    for _ in range(50):
        taken_in(backlog, "a", FINAL, 6.0)
    assert first_batch(backlog, PARTIAL) == 3


def test_the_speed_of_partials_tells_nothing_of_finals():
    backlog = Backlog(BacklogSettings())
    for number in range(50):
        backlog.add(asked("a", PARTIAL, length_s=5.0))
        backlog.finish(backlog.take(1e6 * number), 6.0, 1e6 * number)
    for number in range(20):
        backlog.add(asked(number, length_s=5.0))
    assert len(backlog.take(1e9)) == 3


# --- what partials get ---


def played(
    *,
    finals_per_s: float,
    final_s: float = 0.1,
    partial_s: float = 0.05,
    n_workers: int = 1,
    duration_s: float = 120.0,
) -> tuple[float, float]:
    """Engine seconds a second that finals and partials got from an engine that answers one request
    at a time, with partials always waiting.
    """
    backlog = Backlog(BacklogSettings(most_utterances=1), n_workers)
    got_s = {FINAL: 0.0, PARTIAL: 0.0}
    now_s, n_finals = 0.0, 0
    while now_s < duration_s:
        while n_finals < now_s * finals_per_s:
            backlog.add(asked(f"f{n_finals}"))
            n_finals += 1
        backlog.add(asked("p", PARTIAL))
        batch = backlog.take(now_s)
        if not batch:
            now_s = min(
                backlog.next_s(now_s) + 1e-3, max(now_s + 1e-3, n_finals / max(finals_per_s, 1e-9))
            )
            continue
        urgency = batch[0].urgency
        took_s = final_s if urgency is FINAL else partial_s
        got_s[urgency] += took_s
        now_s += took_s / n_workers
        backlog.finish(batch, took_s, now_s)
    return got_s[FINAL] / duration_s, got_s[PARTIAL] / duration_s


def test_partials_alone_get_the_busy_share_of_the_engine():
    _, partials = played(finals_per_s=0.0)
    assert partials == pytest.approx(0.8, abs=0.03)


def test_partials_get_what_finals_leave_of_the_busy_share():
    finals, partials = played(finals_per_s=4.0)
    assert finals == pytest.approx(0.4, abs=0.03)
    assert partials == pytest.approx(0.4, abs=0.05)


def test_partials_get_next_to_nothing_when_finals_take_the_busy_share():
    finals, partials = played(finals_per_s=8.5)
    assert finals == pytest.approx(0.85, abs=0.03)
    assert 0 < partials < 0.05


def test_partials_get_nothing_when_finals_fill_the_engine():
    finals, partials = played(finals_per_s=20.0)
    assert finals == pytest.approx(1.0, abs=0.02)
    assert partials < 0.01


def test_two_workers_give_partials_twice_as_much():
    finals, partials = played(finals_per_s=8.0, n_workers=2)
    assert finals == pytest.approx(0.8, abs=0.05)
    assert partials == pytest.approx(0.8, abs=0.1)


def spent(urgency: Urgency = PARTIAL, took_s: float = 1.0) -> Backlog:
    """A backlog at time 0 whose last batch took `took_s`."""
    backlog = filled(asked("old", urgency))
    backlog.finish(backlog.take(0.0), took_s, 0.0)
    return backlog


def test_partials_wait_while_their_budget_is_spent():
    backlog = spent()
    backlog.add(asked("p", PARTIAL))
    assert backlog.take(0.0) == []
    assert not backlog.is_empty


def test_a_partial_is_charged_when_it_is_taken_and_not_only_when_it_ends():
    backlog = Backlog(BacklogSettings(most_utterances=1, partial_batch_s=0.15), n_workers=2)
    for number in range(9):
        backlog.add(asked(number, PARTIAL, length_s=9.0))
    assert len(take_all(backlog)) == 2


def test_a_partial_that_ends_sooner_than_expected_gives_the_rest_back():
    backlog = Backlog(BacklogSettings(most_utterances=1, partial_batch_s=0.15))
    for number in range(3):
        backlog.add(asked(number, PARTIAL, length_s=15.0))
        batch = backlog.take(0.0)
        assert len(batch) == 1
        backlog.finish(batch, 0.01, 0.0)


def test_finals_wait_for_no_budget():
    backlog = spent()
    backlog.add(asked("l", LIKELY))
    backlog.add(asked("f"))
    assert take_all(backlog) == [["f", "l"]]


def test_the_budget_refills_with_time():
    backlog = spent()
    backlog.add(asked("p", PARTIAL))
    due_s = backlog.next_s(0.0)
    assert due_s == pytest.approx((1.0 - 0.15) / 0.8)
    assert backlog.take(due_s - 0.01) == []
    assert names(backlog.take(due_s + 0.001)) == ["p"]


def test_the_budget_refills_to_one_batch_and_no_further():
    backlog = Backlog(BacklogSettings(most_utterances=1, partial_batch_s=0.15))
    backlog.take(0.0)
    for number in range(9):
        backlog.add(asked(number, PARTIAL, length_s=9.0))
    assert len(take_all(backlog, 1e6)) == 2


def test_a_clock_that_stands_still_refills_nothing():
    backlog = spent()
    backlog.add(asked("p", PARTIAL))
    assert all(backlog.take(0.0) == [] for _ in range(1000))


# --- when the next is due ---


@pytest.mark.parametrize("urgency", [FINAL, LIKELY])
def test_a_final_is_due_at_once_though_partials_wait_for_their_budget(urgency):
    backlog = spent()
    backlog.add(asked("p", PARTIAL))
    backlog.add(asked("f", urgency))
    assert backlog.next_s(0.0) == 0.0


def test_a_partial_within_its_budget_is_due_at_once():
    assert filled(asked("p", PARTIAL)).next_s(5.0) == 5.0


def test_nothing_is_due_when_nothing_waits():
    assert spent().next_s(0.0) is None


# --- the door ---


def test_it_is_full_while_finals_take_more_than_their_share():
    backlog = Backlog(BacklogSettings(load_window_s=5.0, most_final_share=0.9))
    backlog.add(asked("f"))
    batch = backlog.take(0.0)
    backlog.finish(batch, 4.4, 4.4)
    assert backlog.final_share(4.4) == pytest.approx(0.88)
    assert not backlog.is_full(4.4)
    backlog.add(asked("f"))
    backlog.finish(backlog.take(4.4), 0.2, 4.4)
    assert backlog.final_share(4.4) == pytest.approx(0.92)
    assert backlog.is_full(4.4)


def test_the_share_of_finals_fades_with_the_load_window():
    backlog = spent(FINAL, 4.0)
    assert backlog.final_share(0.0) == pytest.approx(0.8)
    assert backlog.final_share(5.0) == pytest.approx(0.8 / math.e)


def test_the_share_of_finals_is_never_more_than_everything():
    backlog = filled(asked("f"))
    backlog.finish(backlog.take(0.0), 29.0, 29.0)
    assert backlog.final_share(29.0) <= 1.0


def test_likely_ones_count_as_finals():
    assert spent(LIKELY, 4.0).final_share(0.0) == pytest.approx(0.8)


def test_partials_never_make_it_full():
    backlog = spent(PARTIAL, 1000.0)
    for number in range(1000):
        backlog.add(asked(number, PARTIAL, length_s=1.0))
    assert backlog.final_share(0.0) == 0.0
    assert not backlog.is_full(0.0)


def test_two_workers_have_twice_the_time():
    backlog = Backlog(BacklogSettings(), n_workers=2)
    backlog.add(asked("f"))
    batch = backlog.take(0.0)
    backlog.add(asked("f", length_s=9.0))
    assert backlog.expected_wait_s() == pytest.approx(10.0 * FINAL_S_PER_S / 2)
    backlog.finish(batch, 4.0, 0.0)
    assert backlog.final_share(0.0) == pytest.approx(0.4)


def test_it_is_full_while_a_new_final_would_wait_too_long():
    backlog = Backlog(BacklogSettings(most_wait_s=1.0))
    for number in range(5):
        backlog.add(asked(number, length_s=9.0))  # 0.2 s of the engine each
    assert backlog.expected_wait_s() == pytest.approx(1.0)
    backlog.drain()
    for number in range(5):
        backlog.add(asked(number, length_s=8.9))
    assert not backlog.is_full(0.0)
    last = asked("last")
    backlog.add(last)
    assert backlog.is_full(0.0)
    backlog.remove(last)
    assert not backlog.is_full(0.0)


def test_only_finals_stand_before_a_new_final():
    backlog = filled(*(asked(n, LIKELY) for n in range(9)), *(asked(n, PARTIAL) for n in "abc"))
    assert backlog.expected_wait_s() == 0.0


# --- what becomes more urgent, or less ---


@pytest.mark.parametrize("before", Urgency)
@pytest.mark.parametrize("after", Urgency)
def test_a_request_gets_the_urgency_that_it_is_given(before, after):
    request = asked("a", before, number=7)
    backlog = filled(request)
    backlog.reprioritise(request.key, after)
    [held] = backlog.take(0.0)
    assert held.number == 7
    assert held.key == request.key
    assert held.urgency is after
    assert held.utterance.is_final is (after is not PARTIAL)
    assert held.utterance.samples is request.utterance.samples
    assert backlog.is_empty


def test_what_became_final_comes_before_what_is_only_likely():
    backlog = filled(asked("a", LIKELY), asked("b", LIKELY), limits=ONE_BY_ONE)
    backlog.reprioritise(asked("b").key, FINAL)
    assert take_all(backlog) == [["b"], ["a"]]


def test_what_is_no_longer_likely_waits_with_the_partials():
    backlog = filled(asked("a", LIKELY), asked("b", LIKELY), limits=ONE_BY_ONE)
    backlog.reprioritise(asked("a").key, PARTIAL)
    assert take_all(backlog) == [["b"], ["a"]]


def test_the_urgency_that_it_has_already_does_not_cost_its_place():
    backlog = filled(asked("a"), asked("b"), limits=ONE_BY_ONE)
    backlog.reprioritise(asked("a").key, FINAL)
    assert take_all(backlog) == [["a"], ["b"]]


def test_nothing_there_to_hurry_is_no_error():
    backlog = filled(asked("a"))
    backlog.reprioritise(asked("b").key, FINAL)
    assert take_all(backlog) == [["a"]]


def test_a_request_that_was_hurried_can_be_removed_by_whoever_made_it():
    request = asked("a", LIKELY)
    backlog = filled(request)
    backlog.reprioritise(request.key, FINAL)
    backlog.remove(request)
    assert backlog.is_empty


def test_a_request_that_is_decoded_by_itself_stays_so_when_it_is_hurried():
    backlog = filled(asked("x", LIKELY, is_alone=True), asked("y"))
    backlog.reprioritise(asked("x").key, FINAL)
    assert take_all(backlog) == [["y"], ["x"]]


# --- what nobody waits for any more ---


@pytest.mark.parametrize("urgency", Urgency)
def test_what_was_removed_is_not_taken(urgency):
    request = asked("a", urgency)
    backlog = filled(request)
    assert backlog.holds(request.key)
    backlog.remove(request)
    assert not backlog.holds(request.key)
    assert backlog.is_empty
    assert backlog.take(0.0) == []


def test_removing_an_older_request_leaves_the_one_that_took_its_place():
    old, new = asked("a", number=1), asked("a", number=2)
    backlog = filled(old, new)
    backlog.remove(old)
    assert backlog.take(0.0) == [new]


def test_removing_what_does_not_wait_is_no_error():
    backlog = filled(asked("a"))
    backlog.remove(asked("b"))
    assert take_all(backlog) == [["a"]]


def test_draining_gives_everything_and_leaves_nothing():
    backlog = filled(asked("p", PARTIAL), asked("f"), asked("l", LIKELY))
    assert names(backlog.drain()) == ["f", "l", "p"]
    assert backlog.is_empty
    assert backlog.drain() == []


# --- whatever is asked ---

SUBJECTS = st.sampled_from(["alice", "bob", "carol"])
LENGTHS_S = st.sampled_from([0.0, 0.5, 1.0, 4.0])
MOST_COST_S, LEAST_COST_S = 5.0, 1.0


@settings(max_examples=100, deadline=None)
@given(
    own_length_s=LENGTHS_S,
    n_own=st.integers(0, 3),
    most_utterances=st.integers(1, 4),
    others=st.lists(
        st.lists(st.tuples(st.sampled_from(["bob", "carol"]), st.integers(0, 5), LENGTHS_S)),
        max_size=100,
    ),
)
def test_a_final_is_taken_within_a_bounded_number_of_takes_whatever_the_others_ask(
    own_length_s, n_own, most_utterances, others
):
    backlog = Backlog(BacklogSettings(most_utterances=most_utterances))
    for number in range(n_own):
        backlog.add(asked(f"before {number}", length_s=4.0))
    waiting = asked("waiting", length_s=own_length_s)
    backlog.add(waiting)
    n_takes = 0
    for requests in others:
        for subject, name, length_s in requests:
            backlog.add(asked(name, subject=subject, length_s=length_s))
        n_takes += bool(backlog.take(0.0))
        if not backlog.holds(waiting.key):
            break
        per_subject = n_own * MOST_COST_S / LEAST_COST_S + 1
        assert n_takes <= n_own + 2 * per_subject


class Backlogs(RuleBasedStateMachine):
    """Anything is asked for, taken back, hurried and decoded, in any order."""

    @initialize(most_utterances=st.integers(1, 4), n_workers=st.integers(1, 2))
    def begin(self, most_utterances, n_workers):
        self.clock = ManualClock()
        self.backlog = Backlog(BacklogSettings(most_utterances=most_utterances), n_workers)
        self.waiting: dict[Key, Request] = {}
        self.in_engine: list[list[Request]] = []
        self.n_asked = 0
        self.most_utterances = most_utterances

    @rule(
        subject=SUBJECTS,
        name=st.integers(0, 3),
        urgency=st.sampled_from(Urgency),
        length_s=LENGTHS_S,
        is_alone=st.booleans(),
    )
    def ask(self, subject, name, urgency, length_s, is_alone):
        self.n_asked += 1
        request = asked(
            name,
            urgency,
            subject=subject,
            length_s=length_s,
            number=self.n_asked,
            is_alone=is_alone,
        )
        replaced = self.backlog.add(request)
        held = self.waiting.get(request.key)
        assert (replaced and replaced.number) == (held and held.number)
        self.waiting[request.key] = request

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take_back(self, data):
        key = data.draw(st.sampled_from(list(self.waiting)))
        self.backlog.remove(self.waiting.pop(key))

    @rule(subject=SUBJECTS, name=st.integers(0, 3), urgency=st.sampled_from(Urgency))
    def hurry(self, subject, name, urgency):
        key = Key(subject, str(name), 0)
        self.backlog.reprioritise(key, urgency)
        if key in self.waiting:
            held = self.waiting[key]
            utterance = replace(held.utterance, is_final=urgency is not PARTIAL)
            self.waiting[key] = replace(held, urgency=urgency, utterance=utterance)

    @rule()
    def take(self):
        batch = self.backlog.take(self.clock())
        assert len(batch) <= self.most_utterances
        assert len(batch) <= 1 or not any(request.is_alone for request in batch)
        for request in batch:
            held = self.waiting.pop(request.key)
            assert request.number == held.number
            assert request.urgency is held.urgency
            assert request.utterance.is_final == held.utterance.is_final
        taken = [request.urgency for request in batch]
        left = [request.urgency for request in self.waiting.values()]
        assert taken == sorted(taken)
        assert not (PARTIAL in taken and FINAL in taken + left)
        assert not (PARTIAL in taken and LIKELY in taken + left)
        assert not (LIKELY in taken and FINAL in left)
        assert batch or not {FINAL, LIKELY} & set(left)
        if batch:
            self.in_engine.append(batch)

    @precondition(lambda self: self.in_engine)
    @rule(took_s=st.floats(0.0, 30.0))
    def finish(self, took_s):
        self.clock.move(took_s)
        self.backlog.finish(self.in_engine.pop(0), took_s, self.clock())

    @rule(duration_s=st.floats(0.0, 100.0))
    def let_pass(self, duration_s):
        self.clock.move(duration_s)

    @precondition(lambda self: not self.in_engine)
    @rule()
    def drain(self):
        assert {request.number for request in self.backlog.drain()} == {
            request.number for request in self.waiting.values()
        }
        self.waiting = {}

    @precondition(lambda self: self.waiting)
    @rule()
    def wait_until_due(self):
        for _ in range(100):
            due_s = self.backlog.next_s(self.clock())
            assert due_s >= self.clock()
            self.clock.now_s = due_s + 1e-3
            assert not self.backlog.is_empty
            batch = self.backlog.take(self.clock())
            if batch:
                break
        assert batch, "due, and never given"
        for request in batch:
            del self.waiting[request.key]
        self.in_engine.append(batch)

    @invariant()
    def nothing_is_lost_and_nothing_is_left(self):
        assert self.backlog.is_empty == (not self.waiting)
        assert sum(len(line.waiting) for line in self.backlog._lines.values()) == len(self.waiting)
        assert all(self.backlog.holds(key) for key in self.waiting)

    @invariant()
    def nothing_is_remembered_of_a_line_that_is_empty(self):
        for line in self.backlog._lines.values():
            assert line.waiting or not line.ends_by_subject


Backlogs.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBacklogs = Backlogs.TestCase
