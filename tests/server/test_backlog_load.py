"""How much is decoded at a time, what partials get of it, and when it is too much."""

import math

import pytest

from server.backlog import Backlog, BacklogSettings
from server.recognition import Urgency
from tests.server.asked import FINAL, LIKELY, PARTIAL, asked, filled, names, take_all

FINAL_S_PER_S = 0.007
"""Engine time for a second of padded audio, until it is known better."""


# --- the engine's speed ---


def taken_in(backlog: Backlog, name: str, urgency: Urgency, took_s: float) -> None:
    """One batch of one utterance of 5 s, decoded in `took_s`."""
    backlog.add(asked(name, urgency, length_s=5.0))
    batch = backlog.take(0.0)
    assert len(batch) == 1
    backlog.finish(batch, took_s, 0.0)


def first_batch(backlog: Backlog, urgency: Urgency) -> int:
    for number in range(8):
        backlog.add(asked(number, urgency, length_s=5.0))
    return len(backlog.take(10_000.0))


ONE_S = 22.0 * FINAL_S_PER_S
"""Engine time of a batch of one utterance of 5 s, until it is known better."""


def test_batches_grow_to_what_a_faster_engine_decodes_in_time():
    backlog = Backlog(BacklogSettings(final_batch_s=0.3))
    assert first_batch(backlog, FINAL) == 4
    backlog.drain()
    for _ in range(50):
        taken_in(backlog, "a", FINAL, ONE_S / 1.5)
    assert first_batch(backlog, FINAL) == 8


def test_batches_shrink_to_what_a_slower_engine_decodes_in_time():
    backlog = Backlog(BacklogSettings(final_batch_s=0.3))
    for _ in range(50):
        taken_in(backlog, "a", FINAL, ONE_S * 1.5)
    assert first_batch(backlog, FINAL) == 2


def test_one_slow_batch_does_not_make_the_engine_slow():
    backlog = Backlog(BacklogSettings(final_batch_s=0.3))
    taken_in(backlog, "a", FINAL, ONE_S * 1.5)
    assert first_batch(backlog, FINAL) == 3


def test_a_batch_of_mixed_lengths_shows_the_speed_of_its_padded_audio():
    backlog = filled(asked("long", length_s=5.0), asked("short", length_s=1.0))
    waited_s = backlog.expected_wait_s()
    batch = backlog.take(0.0)
    backlog.finish(batch, (16.0 + 2 * 6.0) * FINAL_S_PER_S, 0.0)
    for request in batch:
        backlog.add(request)
    assert backlog.expected_wait_s() == pytest.approx(waited_s)


def test_the_speed_of_finals_tells_nothing_of_partials():
    limits = BacklogSettings(partial_batch_s=0.11)
    backlog = Backlog(limits)
    for _ in range(50):
        taken_in(backlog, "a", FINAL, 6.0)
    assert first_batch(backlog, PARTIAL) == 3


def test_the_speed_of_partials_tells_nothing_of_finals():
    backlog = Backlog(BacklogSettings(final_batch_s=0.3))
    for number in range(50):
        backlog.add(asked("a", PARTIAL, length_s=5.0))
        backlog.finish(backlog.take(1e6 * number), 6.0, 1e6 * number)
    assert first_batch(backlog, FINAL) == 4


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
    backlog = Backlog(BacklogSettings(most_utterances=1, busy_share=0.8), n_workers)
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
    backlog = filled(asked("old", urgency), limits=BacklogSettings(busy_share=0.8))
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


# --- what is only likely ---


def likely(backlog: Backlog, asked_s: float) -> None:
    backlog.add(asked("l", LIKELY, asked_s=asked_s))


def test_a_likely_one_waits_for_nothing_while_the_engine_has_time():
    backlog = spent(FINAL, 2.5)
    assert backlog.final_share(0.0) < 0.4
    likely(backlog, 0.0)
    assert backlog.next_s(0.0) == 0.0
    assert names(backlog.take(0.0)) == ["l"]


def test_a_likely_one_waits_for_its_pause_to_last_while_finals_fill_the_engine():
    backlog = spent(FINAL, 60.0)
    likely(backlog, 0.0)
    assert backlog.next_s(0.0) == pytest.approx(0.25, abs=0.01)
    assert backlog.take(0.2) == []
    assert names(backlog.take(0.25)) == ["l"]


def test_a_likely_one_that_waits_keeps_no_final_and_no_partial_from_the_engine():
    backlog = spent(FINAL, 60.0)
    likely(backlog, 0.0)
    backlog.add(asked("f"))
    backlog.add(asked("p", PARTIAL))
    assert take_all(backlog) == [["f"], ["p"]]


def test_a_likely_one_that_became_final_waits_no_longer():
    backlog = spent(FINAL, 60.0)
    likely(backlog, 0.0)
    backlog.reprioritise(asked("l").key, FINAL)
    assert backlog.next_s(0.0) == 0.0
    assert names(backlog.take(0.0)) == ["l"]


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
    now_s, shares = 0.0, []
    while not backlog.is_full(now_s):
        backlog.add(asked("f"))
        batch = backlog.take(now_s)
        now_s += 0.5
        backlog.finish(batch, 0.5, now_s)
        shares.append(backlog.final_share(now_s))
    assert shares[-2] <= 0.9 < shares[-1]
    assert not backlog.is_full(now_s + 1.0)


def test_the_share_of_finals_fades_with_the_load_window():
    backlog = spent(FINAL, 5.0)
    assert backlog.final_share(0.0) == pytest.approx(1 - 1 / math.e)
    assert backlog.final_share(5.0) == pytest.approx((1 - 1 / math.e) / math.e)


def test_the_share_of_finals_is_the_same_whether_one_batch_took_it_or_many():
    backlog = Backlog(BacklogSettings(load_window_s=5.0))
    for number in range(100):
        backlog.add(asked("f"))
        backlog.finish(backlog.take(number / 20), 0.05, (number + 1) / 20)
    assert backlog.final_share(5.0) == pytest.approx(spent(FINAL, 5.0).final_share(0.0))


def test_the_share_of_finals_is_never_more_than_everything():
    backlog = filled(asked("f"))
    backlog.finish(backlog.take(0.0), 29.0, 29.0)
    assert backlog.final_share(29.0) <= 1.0


def test_likely_ones_count_as_finals():
    assert spent(LIKELY, 5.0).final_share(0.0) == pytest.approx(1 - 1 / math.e)


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
    backlog.finish(batch, 5.0, 0.0)
    assert backlog.final_share(0.0) == pytest.approx((1 - 1 / math.e) / 2)


def test_it_is_full_while_a_new_final_would_wait_too_long():
    backlog = Backlog(BacklogSettings(most_wait_s=0.35))
    for number in range(5):
        backlog.add(asked(number, length_s=9.0))  # 0.07 s of the engine each
    assert backlog.expected_wait_s() == pytest.approx(0.35)
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
