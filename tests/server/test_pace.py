"""Who is ahead of its allowance, how long it is not read, and who is too fast."""

import random
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf

import pytest

from server.pace import Pace, PaceSettings

RATE_HZ = 16_000
FRAME_SAMPLES = 320
FRAME_US = 20_000
SECOND_US = 1_000_000
N_SCHEDULES = 10_000
N_FRAMES = 30


@dataclass
class Oracle:
    """The same in exact fractions of seconds."""

    percent: int
    settings: PaceSettings
    audio_s: Fraction = Fraction(0)
    first_s: Fraction | None = None
    ahead_since_s: Fraction | None = None

    def receive(self, frame_s: Fraction, now_s: Fraction) -> tuple[bool, Fraction | None]:
        """Whether it is too fast, and when to read again if not now."""
        pace = Fraction(self.percent, 100)
        self.first_s = now_s if self.first_s is None else self.first_s
        allowance_s = Fraction(self.settings.burst_ms, 1000) + pace * (now_s - self.first_s)
        if allowance_s - self.audio_s >= Fraction(self.settings.slack_ms, 1000):
            self.ahead_since_s = None
        self.audio_s += frame_s
        limit_s = Fraction(self.settings.limit_ms, 1000)
        if self.ahead_since_s is not None and now_s - self.ahead_since_s >= limit_s:
            return True, None
        ahead_s = self.audio_s - allowance_s
        if ahead_s <= 0:
            return False, None
        if self.ahead_since_s is None:
            self.ahead_since_s = now_s
        caught_up_s = now_s + ahead_s / pace if pace else inf
        return False, min(caught_up_s, self.ahead_since_s + limit_s)


class Sender:
    """Sends frames at times of its own; what is not read yet waits in the socket."""

    def __init__(self, pace: Pace, frames: list[tuple[int, int]]) -> None:
        self.pace = pace
        self.closed_us: int | None = None
        self.held_us = 0
        ready_us = 0
        for at_us, n_samples in frames:
            read_us = max(at_us, ready_us)
            if pace.receive(n_samples, RATE_HZ, read_us / SECOND_US):
                self.closed_us = read_us
                break
            ready_us = read_us
            if pace.resumes_s is not None:
                ready_us = round(pace.resumes_s * SECOND_US)
                self.held_us += ready_us - read_us


def sent(speed_times, duration_s, frame_samples=FRAME_SAMPLES, start_us=0):
    """Frames as a sender spaces them whose audio runs at `speed_times` real time."""
    frame_us = frame_samples * SECOND_US // RATE_HZ
    n_frames = round(duration_s * SECOND_US * speed_times / frame_us)
    return [(start_us + round(n * frame_us / speed_times), frame_samples) for n in range(n_frames)]


def new_pace(percent=125):
    return Pace(percent, PaceSettings())


def test_without_a_pace_nothing_is_too_fast():
    pace = Pace(None, PaceSettings())
    assert not any(pace.receive(10**9, RATE_HZ, 0.0) for _ in range(100))
    assert pace.resumes_s is None


def test_the_burst_may_come_at_once():
    pace = new_pace()
    assert not pace.receive(10 * RATE_HZ, RATE_HZ, 5.0)
    assert pace.resumes_s is None


def test_who_is_ahead_is_read_again_when_its_allowance_has_caught_up():
    pace = new_pace()
    assert not pace.receive(11 * RATE_HZ, RATE_HZ, 5.0)
    assert pace.resumes_s == 5.8


def test_who_is_far_ahead_is_read_again_when_the_limit_has_come():
    pace = new_pace()
    assert not pace.receive(20 * RATE_HZ, RATE_HZ, 5.0)
    assert pace.resumes_s == 8.0


def test_a_frame_that_waited_for_that_moment_is_too_fast():
    pace = new_pace()
    pace.receive(20 * RATE_HZ, RATE_HZ, 5.0)
    assert pace.receive(1, RATE_HZ, 8.0)


def test_who_sent_too_much_once_and_then_waited_is_not_too_fast():
    pace = new_pace()
    pace.receive(20 * RATE_HZ, RATE_HZ, 5.0)
    assert not pace.receive(1, RATE_HZ, 20.0)
    assert pace.resumes_s is None


@pytest.mark.parametrize(("waited_s", "is_too_fast"), [(3.0, True), (3.2, False)])
def test_a_break_has_to_be_as_long_as_the_settings_say(waited_s, is_too_fast):
    pace = new_pace()
    pace.receive(13 * RATE_HZ + RATE_HZ // 2, RATE_HZ, 0.0)
    assert pace.receive(1, RATE_HZ, waited_s) == is_too_fast


def test_no_pace_at_all_leaves_the_burst():
    pace = new_pace(0)
    assert not pace.receive(10 * RATE_HZ, RATE_HZ, 0.0)
    assert not pace.receive(1, RATE_HZ, 100.0)
    assert pace.resumes_s == 103.0
    assert pace.receive(1, RATE_HZ, 103.0)


@pytest.mark.parametrize("frame_samples", [160, 320, 1600, 16_000, 131_072])
def test_a_sender_at_ten_times_real_time_is_closed_within_five_seconds(frame_samples):
    sender = Sender(new_pace(), sent(10, 60, frame_samples))
    assert sender.closed_us is not None
    assert sender.closed_us <= 5 * SECOND_US


def test_a_sender_at_twice_real_time_is_slowed_down_before_it_is_closed():
    sender = Sender(new_pace(), sent(2, 60))
    assert sender.held_us > SECOND_US
    assert sender.closed_us is not None
    assert sender.closed_us > 13 * SECOND_US


@pytest.mark.parametrize("percent", [100, 125])
@pytest.mark.parametrize("frame_samples", [160, 320, 1600, 16_000, 131_072])
def test_a_sender_at_real_time_is_never_held(percent, frame_samples):
    sender = Sender(new_pace(percent), sent(1, 600, frame_samples))
    assert sender.closed_us is None
    assert sender.held_us == 0


@pytest.mark.parametrize("stall_s", [3, 60])
def test_a_stall_of_the_network_and_the_burst_after_it_are_not_punished(stall_s):
    frames = [
        (max(at_us, (5 + stall_s) * SECOND_US) if at_us > 5 * SECOND_US else at_us, n_samples)
        for at_us, n_samples in sent(1, 120)
    ]
    sender = Sender(new_pace(100), frames)
    assert sender.closed_us is None
    assert sender.held_us == 0


def test_ten_thousand_schedules_agree_with_an_exact_oracle():
    dice = random.Random(6)  # noqa: S311 (a seed, to be played again)
    n_held = n_closed = 0
    for _ in range(N_SCHEDULES):
        percent = dice.choice([0, 50, 100, 125, 200, 333])
        settings = PaceSettings(
            burst_ms=dice.choice([0, 500, 10_000]),
            limit_ms=dice.choice([1, 700, 3000]),
            slack_ms=dice.choice([0, 100, 500]),
        )
        rate_hz = dice.choice([8_000, 16_000, 44_100, 48_000])
        pace, oracle = Pace(percent, settings), Oracle(percent, settings)
        now_us = dice.randrange(10**12)
        speed = dice.choice([1, 2, 10])
        for _ in range(dice.randint(1, N_FRAMES)):
            n_samples = dice.choice([0, 1, rate_hz // 50, dice.randrange(8 * rate_hz)])
            is_too_fast = pace.receive(n_samples, rate_hz, now_us / SECOND_US)
            expected, resumes_s = oracle.receive(
                Fraction(n_samples, rate_hz), Fraction(now_us, SECOND_US)
            )
            assert is_too_fast == expected
            if is_too_fast:
                n_closed += 1
                break
            if resumes_s is None:
                assert pace.resumes_s is None
                now_us += dice.randrange(2 * n_samples * SECOND_US // rate_hz // speed + 2)
                continue
            n_held += 1
            resumes_us = ceil(resumes_s * SECOND_US)
            assert pace.resumes_s == resumes_us / SECOND_US
            now_us = resumes_us + dice.choice([0, 0, 0, dice.randrange(SECOND_US)])
    assert n_held > N_SCHEDULES / 2
    assert n_closed > N_SCHEDULES / 20
