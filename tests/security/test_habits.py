"""Sessions of a subject in; those that are unlike all before out, once there is a habit."""

import random

import pytest

from security.habits import HabitLimits, Habits, Spread

DAY_NS = 86_400 * 10**9
HOUR_NS = 3600 * 10**9
MINUTE_MS = 60_000
LIMITS = HabitLimits(
    least_sessions=20, least_days=5, spreads=4.0, least_audio_ms=10 * MINUTE_MS, most_subjects=3
)


def at(day, hour):
    return (20_000 + day) * DAY_NS + hour * HOUR_NS


def with_hours(days=10, a_day=4, hours=(9, 11)):
    """Habits of a subject who begins sessions at these hours."""
    habits = Habits(LIMITS)
    for day in range(days):
        for n in range(a_day):
            assert not habits.is_hour_unusual("ward", at(day, hours[n % len(hours)]))
    return habits


def with_lengths(days=10, a_day=4, audio_ms=5 * MINUTE_MS):
    habits = Habits(LIMITS)
    for day in range(days):
        for n in range(a_day):
            assert not habits.is_length_unusual("ward", at(day, 9), audio_ms + n)
    return habits


@pytest.mark.parametrize(("hour", "is_unusual"), [(3, True), (10, False), (12, False), (13, True)])
def test_an_hour_with_no_session_around_it_is_unusual(hour, is_unusual):
    assert with_hours().is_hour_unusual("ward", at(11, hour)) is is_unusual


def test_midnight_lies_between_the_last_hour_and_the_first():
    habits = with_hours(hours=(23,))
    assert not habits.is_hour_unusual("ward", at(11, 0))
    assert habits.is_hour_unusual("ward", at(11, 2))


def test_an_hour_is_unusual_once():
    habits = with_hours()
    assert habits.is_hour_unusual("ward", at(11, 3))
    assert not habits.is_hour_unusual("ward", at(12, 3))


@pytest.mark.parametrize(
    ("days", "a_day", "is_unusual"), [(10, 1, False), (3, 20, False), (5, 4, True), (19, 1, False)]
)
def test_nothing_is_unusual_before_there_are_enough_sessions_on_enough_days(
    days, a_day, is_unusual
):
    assert with_hours(days, a_day).is_hour_unusual("ward", at(days, 3)) is is_unusual
    habits = with_lengths(days, a_day)
    assert habits.is_length_unusual("ward", at(days, 9), 999 * MINUTE_MS) is is_unusual


def test_others_have_habits_of_their_own():
    assert not with_hours().is_hour_unusual("desk", at(11, 3))


def test_old_habits_are_forgotten():
    habits = with_hours(hours=(9,))
    for n in range(12_000):
        habits.is_hour_unusual("ward", at(20 + n // 100, 20))
    assert habits.is_hour_unusual("ward", at(300, 9))


@pytest.mark.parametrize(("minutes", "is_unusual"), [(13, False), (14, True), (600, True)])
def test_a_session_far_longer_than_the_others_is_unusual(minutes, is_unusual):
    """The spread is at least a quarter: e times the mean of 5 minutes is 13.6."""
    habits = with_lengths()
    assert habits.is_length_unusual("ward", at(11, 9), minutes * MINUTE_MS) is is_unusual


@pytest.mark.parametrize(("minutes", "is_unusual"), [(9, False), (11, True)])
def test_what_is_short_is_never_unusual(minutes, is_unusual):
    habits = with_lengths(audio_ms=5_000)
    assert habits.is_length_unusual("ward", at(11, 9), minutes * MINUTE_MS) is is_unusual


def test_wide_lengths_need_a_longer_one_to_be_unusual():
    draw, habits = random.Random(3), Habits(LIMITS)  # noqa: S311
    told = [
        habits.is_length_unusual("ward", at(n // 8, 9), int(draw.lognormvariate(12, 1)))
        for n in range(2000)
    ]
    assert sum(told) <= 2
    assert habits.is_length_unusual("ward", at(300, 9), int(2.718**17.5))


def volumes(habits, days, minutes):
    told = []
    for day in days:
        told += [day for _ in range(6) if habits.is_volume_unusual("ward", at(day, 9), minutes)]
    return told


def test_a_day_with_far_more_audio_is_unusual_once():
    habits = Habits(LIMITS)
    assert volumes(habits, range(6), 10 * MINUTE_MS) == []
    assert volumes(habits, [6, 7], 16 * MINUTE_MS) == []
    assert volumes(habits, [8], 60 * MINUTE_MS) == [8]


@pytest.mark.parametrize(("days", "found"), [(4, []), (5, [6])])
def test_a_day_is_compared_with_enough_others(days, found):
    habits = Habits(LIMITS)
    volumes(habits, range(days), 10 * MINUTE_MS)
    assert volumes(habits, [6], 60 * MINUTE_MS) == found


def test_a_clock_set_back_over_midnight_begins_a_day():
    habits = Habits(LIMITS)
    assert volumes(habits, [1, 2, 1, 2, 1, 2, 1, 2, 1], 10 * MINUTE_MS) == []


def test_who_was_away_for_longest_goes():
    habits = Habits(LIMITS)
    for subject in "abcda":
        habits.is_hour_unusual(subject, at(1, 9))
    assert len(habits) == 3


def test_mean_and_spread_are_those_of_the_values():
    spread, values = Spread(), [3.0, 5.0, 10.0, 2.0]
    for value in values:
        spread.add(value)
    assert spread.mean == pytest.approx(5.0)
    assert spread.variance == pytest.approx(sum((v - 5) ** 2 for v in values) / 4)


def test_mean_and_spread_follow_what_changes():
    spread = Spread()
    for value in [1.0] * 5000 + [9.0] * 1500:
        spread.add(value)
    assert spread.mean == pytest.approx(9, abs=0.01)
