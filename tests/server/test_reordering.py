"""Frames in the order of their numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dialects.values import Audio
from server.reordering import Reordering


def frame(number: int | None) -> Audio:
    return Audio(str(number).encode(), number=number)


def new_reordering() -> Reordering:
    return Reordering(5, 0.1)


def numbers(arrived) -> list[int | None]:
    return [one.audio.number for one in arrived]


def received(reordering: Reordering, *order: int | None) -> list[int | None]:
    return [n for number in order for n in numbers(reordering.receive(frame(number), 0.0))]


def test_frames_in_order_pass_at_once():
    reordering = new_reordering()
    assert [received(reordering, number) for number in (1, 2, 3)] == [[1], [2], [3]]
    assert reordering.next_deadline_s is None


def test_frames_without_a_number_pass_as_they_come():
    assert received(new_reordering(), None, None) == [None, None]


def test_a_frame_that_overtook_waits_for_the_one_before():
    assert received(new_reordering(), 1, 3, 4, 2) == [1, 2, 3, 4]


def test_the_first_frame_may_have_been_overtaken():
    assert received(new_reordering(), 3, 2, 1) == [1, 2, 3]


def test_numbers_may_begin_with_nought_or_in_the_middle():
    assert received(new_reordering(), 0, 1, 2) == [0, 1, 2]
    assert received(new_reordering(), 77, 78) == [77, 78]


def test_a_frame_that_comes_again_is_a_duplicate_whether_held_or_gone():
    reordering = new_reordering()
    assert received(reordering, 1, 3, 3, 1, 2, 2) == [1, 2, 3]
    assert reordering.n_duplicate == 3


def test_a_frame_that_more_than_the_window_overtook_is_lost_and_then_late():
    reordering = new_reordering()
    assert received(reordering, 1, 3, 4, 5, 6, 7) == [1]
    assert received(reordering, 8, 2) == [3, 4, 5, 6, 7, 8]
    assert (reordering.n_lost, reordering.n_late, reordering.n_duplicate) == (1, 1, 0)


def test_a_frame_is_held_for_the_window_and_no_longer():
    reordering = new_reordering()
    reordering.receive(frame(1), 1.0)
    assert reordering.receive(frame(3), 1.0) == []
    assert reordering.next_deadline_s == pytest.approx(1.1)
    assert reordering.expire(1.09) == []
    assert numbers(reordering.expire(1.1)) == [3]
    assert reordering.next_deadline_s is None


def test_the_next_frame_frees_what_has_waited_too_long():
    reordering = new_reordering()
    reordering.receive(frame(1), 1.0)
    reordering.receive(frame(3), 1.0)
    assert numbers(reordering.receive(frame(6), 1.2)) == [3]
    assert reordering.n_lost == 1


def test_at_the_end_nothing_stays_behind():
    reordering = new_reordering()
    received(reordering, 1, 3, 5)
    assert numbers(reordering.end()) == [3, 5]
    assert reordering.n_lost == 2


def test_small_numbers_after_many_are_a_new_beginning():
    reordering = new_reordering()
    received(reordering, *range(1, 80), 81)
    freed = reordering.receive(frame(2), 0.0)
    freed += reordering.receive(frame(1), 0.0)
    assert numbers(freed) == [81, 1, 2]
    assert [one.begins_anew for one in freed] == [False, True, False]
    assert received(reordering, 3) == [3]


def test_small_numbers_after_few_are_duplicates():
    reordering = new_reordering()
    assert received(reordering, *range(1, 20), 1) == list(range(1, 20))
    assert reordering.n_duplicate == 1


def test_a_peer_that_leaves_out_numbers_for_ever_is_not_remembered_for_ever():
    reordering = new_reordering()
    received(reordering, *range(100, 2000, 2))
    reordering.end()
    assert received(reordering, 101) == []
    assert reordering.n_late + reordering.n_duplicate == 1


@given(
    delays=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    again=st.lists(st.integers(0, 59), max_size=20),
)
def test_any_shuffle_within_the_window_comes_out_sorted_and_once(delays, again):
    order = sorted(range(1, len(delays) + 1), key=lambda number: number + delays[number - 1])
    for at in again:
        if at < len(order):
            order.insert(min(len(order), at + 3), order[at])
    reordering = new_reordering()
    seen = received(reordering, *order) + numbers(reordering.end())
    assert seen == list(range(1, len(delays) + 1))
    assert reordering.n_duplicate == len(order) - len(delays)
    assert reordering.n_lost == reordering.n_late == 0


@given(st.lists(st.tuples(st.integers(1, 90), st.floats(0, 0.05)), max_size=60))
def test_nothing_is_held_longer_than_the_window_and_never_more_than_its_frames(steps):
    reordering, now_s, n_freed, n_taken = new_reordering(), 0.0, 0, 0
    for number, pause_s in steps:
        now_s += pause_s
        while (deadline_s := reordering.next_deadline_s) is not None and deadline_s <= now_s:
            n_freed += len(reordering.expire(deadline_s))
        freed = reordering.receive(frame(number), now_s)
        assert all(now_s - one.arrived_s <= 0.1 for one in freed)
        n_freed, n_taken = n_freed + len(freed), n_taken + 1
        n_held = n_taken - n_freed - reordering.n_late - reordering.n_duplicate
        assert 0 <= n_held <= 5
