"""How a call ends, and that nothing comes after it."""

import pytest

from server import errors, wire
from server.bridge_values import PEER_LOST, Cause, ToPeer
from server.dialects.values import Admitted, Audio, Close, Ended, Fault, Opening, Reply, Stopped
from server.wire import ErrorEvent, Usage
from tests.server.bridged import FRAME, OPENING, READY, Bridged, FakeDialect, final, opened


def error(refusal):
    return ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)


def lingering():
    """A wire whose peer closes by itself."""
    return FakeDialect(closes=False)


def test_a_wire_that_stops_hears_the_last_words_and_then_the_end():
    dialect = FakeDialect()
    bridged = opened(dialect=dialect).hear(Audio(FRAME, 0)).hear(Stopped())
    assert bridged.types == ["start", "stop"]
    bridged.event(final(0, 20)).event(wire.Ended("stopped", Usage(160, 20, 20, 1)))
    bridged.session_end()
    assert [type(told).__name__ for told in dialect.told] == ["Admitted", "Said", "Ended"]
    assert bridged.ended == [Ended(None)]
    assert bridged.actions[-1] == ToPeer(Close(1000))
    assert bridged.bridge.is_over
    assert bridged.bridge.cause is None


def test_what_waits_for_overtaken_audio_is_heard_before_the_stop():
    bridged = opened().hear(Audio(FRAME, 0, 1), Audio(FRAME, 0, 3)).hear(Stopped())
    assert len(bridged.audio) == 2
    assert bridged.actions[-1].frame == '{"type":"stop"}'


def test_audio_after_the_stop_is_not_heard():
    bridged = opened().hear(Stopped(), Audio(FRAME, 0)).hear(Audio(FRAME, 0))
    assert bridged.audio == []


def test_a_peer_that_goes_does_not_end_what_was_said():
    dialect = FakeDialect()
    bridged = opened(dialect=dialect).hear(Audio(FRAME, 0)).gone()
    assert bridged.types[-1] == "stop"
    bridged.event(final(0, 20))
    assert [said.event.text for said in bridged.said] == ["hello"]
    bridged.session_end()
    assert bridged.bridge.is_over
    assert bridged.sent == []
    assert dialect.told == [Admitted(frozenset({"en", "de"}), "en")]


def test_a_peer_that_goes_after_its_stop_stops_once():
    assert opened().hear(Stopped()).gone().types == ["start", "stop"]


@pytest.mark.parametrize(
    "refusal",
    [
        errors.QUOTA_AUDIO,
        errors.TOKEN_EXPIRED,
        errors.SHUTTING_DOWN,
        errors.REVOKED,
        errors.INTERNAL,
    ],
)
def test_a_session_that_ends_by_itself_says_why(refusal):
    bridged = opened().event(error(refusal)).session_end()
    assert bridged.ended == [Ended(refusal)]
    assert bridged.bridge.cause == Cause.of(refusal)
    assert bridged.actions[-1] == ToPeer(Close(refusal.close_code))


def test_a_code_that_nobody_here_knows_is_our_fault():
    bridged = opened().event(ErrorEvent("newer", "text", False)).session_end()
    assert bridged.ended == [Ended(errors.INTERNAL)]


def test_a_session_that_ends_without_a_word_is_our_fault():
    assert opened().session_end().ended == [Ended(errors.INTERNAL)]


def test_a_session_that_fails_at_its_last_words_says_so():
    bridged = opened().hear(Stopped()).event(error(errors.INTERNAL)).session_end()
    assert bridged.ended == [Ended(errors.INTERNAL)]


def test_the_first_reason_stays_the_reason():
    bridged = opened().event(error(errors.QUOTA_AUDIO)).hear(Fault(errors.BAD_REQUEST, "x"))
    bridged.event(error(errors.INTERNAL)).session_end()
    assert bridged.ended == [Ended(errors.QUOTA_AUDIO)]
    assert bridged.bridge.cause == Cause.of(errors.QUOTA_AUDIO)


def test_a_fault_while_open_ends_with_the_last_words():
    bridged = opened().hear(Audio(FRAME, 0)).hear(Fault(errors.BAD_REQUEST, "media_malformed"))
    assert bridged.ends == [errors.BAD_REQUEST]
    assert bridged.event(final(0, 20)).session_end().ended == [Ended(errors.BAD_REQUEST)]
    assert bridged.bridge.cause == Cause(errors.BAD_REQUEST, "media_malformed")
    assert len(bridged.said) == 1


def test_who_was_sent_away_for_a_frame_is_not_one_who_stopped():
    sent_away = Cause.of(errors.MESSAGE_TOO_BIG)
    bridged = opened().hear(Audio(FRAME, 0)).gone(sent_away)
    assert bridged.ends == [errors.MESSAGE_TOO_BIG]
    assert bridged.session_end().bridge.cause == sent_away


def test_who_was_sent_away_before_the_call_is_refused_for_it():
    sent_away = Cause.of(errors.MESSAGE_TOO_BIG)
    assert Bridged().gone(sent_away).bridge.cause == sent_away


def test_a_line_that_breaks_is_not_a_stop_but_ends_the_session_like_one():
    bridged = opened().hear(Audio(FRAME, 0)).gone(PEER_LOST)
    assert bridged.types[-1] == "stop"
    assert bridged.session_end().bridge.cause == PEER_LOST


def test_a_line_that_breaks_after_the_stop_was_stopped():
    assert opened().hear(Stopped()).gone(PEER_LOST).session_end().bridge.cause is None


def test_a_fault_after_the_stop_changes_nothing():
    bridged = opened().hear(Stopped()).hear(Fault(errors.BAD_REQUEST, "x")).session_end()
    assert bridged.ended == [Ended(None)]
    assert bridged.bridge.cause is None


def test_a_refusal_after_the_session_began_ends_it():
    assert opened().refuse(errors.TRAIL_UNAVAILABLE).ended == [Ended(errors.TRAIL_UNAVAILABLE)]


def test_a_peer_that_closes_by_itself_has_ten_seconds_to_do_so():
    bridged = opened(dialect=lingering()).hear(Stopped()).session_end()
    assert not bridged.bridge.is_over
    bridged.move(9.9)
    assert bridged.sent == []
    bridged.move(0.1)
    assert bridged.sent == [Close(1000)]
    assert bridged.bridge.is_over


def test_a_peer_that_closes_by_itself_is_over_when_it_has():
    bridged = opened(dialect=lingering()).hear(Stopped()).session_end().gone()
    assert bridged.bridge.is_over
    assert bridged.sent == []


def test_a_peer_that_is_to_close_is_still_answered():
    bridged = opened(dialect=lingering()).hear(Stopped()).session_end().hear(Reply("pong"))
    assert bridged.sent == ["pong"]


def test_a_peer_that_is_gone_is_not_answered():
    assert opened().gone().hear(Reply("pong")).sent == []


def test_an_end_is_told_once():
    bridged = opened(dialect=lingering()).hear(Stopped()).session_end().session_end()
    bridged.hear(Fault(errors.BAD_REQUEST, "x")).hear(Stopped()).refuse(errors.FORBIDDEN)
    assert bridged.ended == [Ended(None)]


def test_words_after_the_end_are_nobodys():
    bridged = opened(dialect=lingering()).hear(Stopped()).session_end().event(final(0, 20))
    assert bridged.said == []


def test_nothing_follows_the_close():
    bridged = opened().hear(Stopped()).session_end()
    n_actions, n_told = len(bridged.actions), len(bridged.dialect.told)
    bridged.hear(OPENING, Reply("x"), Audio(FRAME), Fault(errors.BAD_REQUEST, "x"), Stopped())
    bridged.admit().event(READY).event(final(0, 20)).session_end().refuse(errors.INTERNAL)
    bridged.gone().move(1000)
    assert (len(bridged.actions), len(bridged.dialect.told)) == (n_actions, n_told)
    assert bridged.bridge.next_deadline_s == float("inf")


def test_what_a_frame_holds_after_its_fault_is_not_heard():
    bridged = Bridged().hear(Fault(errors.BAD_REQUEST, "x"), OPENING, Reply("x"))
    assert bridged.actions == [ToPeer(Close(4400))]


def test_waiting_for_the_last_words_has_no_limit_but_the_sessions():
    bridged = opened().hear(Stopped())
    assert bridged.bridge.next_deadline_s == float("inf")
    assert not bridged.move(100).bridge.is_over


def test_nothing_is_lost_on_a_wire_that_never_opened():
    losses = Bridged().bridge.losses
    assert (losses.late_frames, losses.duplicate_frames, losses.gap_ms) == (0, 0, 0)


def test_a_stop_before_the_session_is_ready_ends_as_wished():
    bridged = Bridged().hear(Opening(("inbound",), OPENING.audio_format)).admit().hear(Stopped())
    assert bridged.event(READY).session_end().ended == [Ended(None)]
