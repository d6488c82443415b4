"""Who is decoded next, and with whom: urgencies, places, shares and batches."""

from dataclasses import replace

import pytest

from server.backlog import Backlog, BacklogSettings
from server.recognition import Urgency
from tests.server.asked import FINAL, LIKELY, ONE_BY_ONE, PARTIAL, asked, filled, names, take_all


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


def test_what_waits_is_counted_in_its_line():
    backlog = filled(asked("p", PARTIAL), asked("l", LIKELY), asked("f"), asked("g"))
    assert backlog.n_waiting == {FINAL: 2, LIKELY: 1, PARTIAL: 1}


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
    return sum(len(line.served_to) for line in backlog._lines.values())


# --- batches ---


def test_a_batch_holds_no_more_utterances_than_the_limit():
    backlog = filled(*(asked(n) for n in range(10)), limits=BacklogSettings(most_utterances=4))
    assert [len(batch) for batch in take_all(backlog)] == [4, 4, 2]


@pytest.mark.parametrize("urgency", [FINAL, LIKELY])
def test_a_batch_of_finals_ends_where_it_would_take_too_long(urgency):
    # 6 s of padded audio each, and 16 s for the batch: three are 0.238 s of the engine.
    backlog = filled(
        *(asked(n, urgency, length_s=5.0) for n in range(7)),
        limits=BacklogSettings(final_batch_s=0.25),
    )
    assert [len(batch) for batch in take_all(backlog)] == [3, 3, 1]


def test_a_batch_of_finals_is_half_of_what_waits_when_that_is_more():
    # 30 of 6 s of padded audio: 1.26 s of the engine, beside what each batch costs.
    backlog = filled(
        *(asked(n, length_s=5.0) for n in range(30)),
        limits=BacklogSettings(most_utterances=30, final_batch_s=0.25),
    )
    assert [len(batch) for batch in take_all(backlog)][:2] == [12, 6]


def test_a_batch_of_partials_has_a_limit_of_its_own():
    # 6 s of padded audio each, and 16 s for the batch: three are 0.102 s of the engine.
    backlog = filled(
        *(asked(n, PARTIAL, length_s=5.0) for n in range(5)),
        limits=BacklogSettings(final_batch_s=9.0, partial_batch_s=0.11),
    )
    assert len(backlog.take(0.0)) == 3


def test_the_short_ones_of_a_batch_cost_what_the_longest_costs():
    limits = BacklogSettings(final_batch_s=0.25)
    backlog = filled(asked("long", length_s=5.0), *(asked(n) for n in range(3)), limits=limits)
    assert take_all(backlog) == [["long", "0", "1"], ["2"]]


def test_the_first_is_taken_however_long_it_is():
    limits = BacklogSettings(final_batch_s=0.2)
    backlog = filled(asked("long", length_s=30.0), asked("b"), limits=limits)
    assert take_all(backlog) == [["long"], ["b"]]


def test_what_failed_with_others_is_decoded_by_itself():
    backlog = filled(
        asked(1), asked("x", is_alone=True), asked("y", is_alone=True), asked(2), asked(3)
    )
    assert take_all(backlog) == [["1"], ["x"], ["y"], ["2", "3"]]


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
