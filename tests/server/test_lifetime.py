"""When a session has to end, and when its client is warned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors
from server.lifetime import Lifetime, Phase, Spans

SPANS = Spans(
    start_limit_s=10,
    idle_limit_s=30,
    session_limit_s=1000,
    drain_limit_s=60,
    expiry_warning_s=60,
    expiry_leeway_s=30,
)


def living(expires_in_s=600.0, phase=Phase.STREAMING):
    life = Lifetime(SPANS, expires_in_s, now_s=0.0)
    life.enter(phase, 0.0)
    return life


@pytest.mark.parametrize(
    ("life", "at_s", "refusal"),
    [
        (living(phase=Phase.WAITING), 10, errors.START_LATE),
        (living(5, Phase.WAITING), 5, errors.TOKEN_EXPIRED),
        (living(), 30, errors.IDLE),
        (living(20), 20, errors.TOKEN_EXPIRED),
        (living(phase=Phase.DRAINING), 60, errors.INTERNAL),
        (living(10, Phase.DRAINING), 40, errors.INTERNAL),
    ],
)
def test_each_phase_has_its_ends(life, at_s, refusal):
    life.take_warning(0)
    assert life.next_deadline_s == at_s
    assert life.due(at_s - 0.01) is None
    assert life.due(at_s) is refusal


def test_a_session_has_a_longest_time_however_lively_it_is():
    life = living(expires_in_s=5000)
    life.receive_frame(999)
    assert life.due(999.9) is None
    assert life.due(1000) is errors.SESSION_TOO_LONG


def test_who_says_something_before_the_start_is_waited_for_until_it_is_idle():
    life = living(phase=Phase.WAITING)
    life.receive_frame(9)
    assert (life.due(38.9), life.due(39)) == (None, errors.IDLE)
    life.receive_frame(38)
    assert (life.next_deadline_s, life.due(67.9), life.due(68)) == (68, None, errors.IDLE)


@given(st.lists(st.floats(0, 25)), st.sampled_from([300.0, 5000.0]))
def test_no_session_that_waits_for_its_start_outlives_its_token_or_its_longest_time(
    pauses_s, expires_in_s
):
    life, now_s = living(expires_in_s, Phase.WAITING), 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        life.receive_frame(now_s)
    ends_s = min(expires_in_s, SPANS.session_limit_s)
    assert life.next_deadline_s <= ends_s
    assert life.due(ends_s) is not None


def test_what_is_closed_has_no_end():
    life = living(phase=Phase.CLOSED)
    assert life.next_deadline_s == float("inf")
    assert life.due(1e9) is None


def test_the_warning_comes_once_for_each_token():
    life = living(expires_in_s=100)
    life.receive_frame(39)
    assert life.next_deadline_s == 40
    assert [life.take_warning(39), life.take_warning(41), life.take_warning(42)] == [None, 59, None]
    life.renew(200, now_s=50)
    assert life.take_warning(191) == 59


def test_who_comes_with_little_left_is_warned_at_once():
    assert living(expires_in_s=5).take_warning(0) == 5


def test_a_token_that_ends_no_later_is_no_newer_one():
    life = living(expires_in_s=100)
    assert not life.is_renewed_by(90, now_s=10)
    assert life.is_renewed_by(91, now_s=10)
    life.renew(91, now_s=10)
    assert life.last_moment_s == 131


def test_only_who_streams_is_warned():
    assert living(5, Phase.WAITING).take_warning(4) is None
