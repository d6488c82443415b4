"""The conversation, driven without sockets, model or clock."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from security.door_events import RefreshRefused, SessionEnded, SessionRefreshed
from security.limits import Limits
from server import errors
from server.recognition import Hypothesis, Urgency, Word
from server.session import CLIENT_GONE
from server.session_values import Reserve, SessionSettings, spans_of, with_quiet
from server.track import Reprioritise
from server.wire import (
    Ended,
    ErrorEvent,
    Final,
    Flushed,
    Partial,
    Quota,
    Ready,
    SpeechEnded,
    SpeechStarted,
    TokenExpiring,
    TokenRefreshed,
)
from server.wire import RefreshRefused as RefreshRefusedEvent
from tests.fakes import (
    FLUSH,
    GRANT,
    START,
    STOP,
    ManualClock,
    hear,
    limited,
    message_of,
    new_session,
    new_shell,
    silence,
    speech,
)


def test_start_is_answered_with_what_holds_for_the_session():
    shell = new_shell('{"type":"start","sample_rate_hz":8000,"end_of_speech_ms":300}')
    [ready] = shell.of(Ready)
    assert ready.end_of_speech_ms == 300
    assert ready.limits.expires_in_s == 3600


def test_a_stretch_of_speech_is_told_from_its_start_to_its_final():
    shell = new_shell().audio(silence(600) + speech(2000) + silence(900))
    kinds = [type(event) for event in shell.events]
    assert kinds[:2] == [Ready, SpeechStarted]
    assert kinds[-2:] == [SpeechEnded, Final]
    assert set(kinds[2:-2]) == {Partial}
    [final] = shell.of(Final)
    assert re.fullmatch(r"(w5 ){7,9}w5", final.text)
    assert 0 < final.start_ms < 600
    assert 2600 <= final.end_ms <= 2900


def test_a_caption_may_go_on_from_the_one_before_and_a_final_may_not():
    shell = new_shell().audio(silence(600) + speech(3000) + silence(900))
    asked = [each for each in shell.recognizer.heard if not each.is_final]
    assert asked[0].before is None
    assert [each.before for each in asked[1:]] == [hear(each) for each in asked[:-1]]
    finals = [each for each in shell.recognizer.heard if each.is_final]
    assert [each.before for each in finals] == [None]


def test_the_words_of_a_final_lie_inside_it_and_ascend():
    shell = new_shell().audio(silence(2000) + speech(2000) + silence(900))
    [final] = shell.of(Final)
    starts_ms = [word.start_ms for word in final.words]
    assert starts_ms == sorted(starts_ms)
    assert final.start_ms <= starts_ms[0]
    assert final.words[-1].end_ms <= final.end_ms


def test_no_word_begins_before_speech_does():
    def hear_from_the_start(utterance):
        words = (Word("hello", 0, 12_000, 0.9), Word("you", 12_000, 16_000, 0.9))
        return Hypothesis("hello you", words, "en")

    shell = new_shell()
    shell.recognizer.answer = hear_from_the_start
    shell.audio(silence(2000) + speech(2000) + silence(900))
    [final] = shell.of(Final)
    assert final.start_ms < 1600
    assert abs(final.words[0].start_ms - 2000) <= 32
    assert final.words[1].start_ms == final.words[0].end_ms


def test_stable_text_only_grows_and_the_final_follows_the_last_partial():
    shell = new_shell().audio(speech(6000) + silence(900))
    stable = [partial.stable for partial in shell.of(Partial)]
    assert len(stable) > 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(stable))
    assert shell.of(Final)[0].text.startswith(stable[-1])


def test_a_client_that_wants_no_partials_gets_none():
    start = '{"type":"start","sample_rate_hz":16000,"partials":false}'
    shell = new_shell(start).audio(speech(3000) + silence(900))
    assert shell.of(Partial) == []
    assert len(shell.of(Final)) == 1


def test_the_final_is_decoded_while_the_silence_is_still_waited_for():
    shell = new_shell(answers=False).audio(speech(2000) + silence(250))
    assert shell.requests[-1].utterance.is_final
    assert shell.of(SpeechEnded) == []
    shell.answer(shell.requests[-1])
    assert shell.of(Final) == []
    n_requests = len(shell.requests)
    shell.audio(silence(600))
    assert [type(event) for event in shell.events[-2:]] == [SpeechEnded, Final]
    assert len(shell.requests) == n_requests


def test_speech_that_resumes_makes_the_candidate_a_partial_and_asks_again():
    shell = new_shell(answers=False).audio(speech(2000) + silence(200))
    candidate = shell.requests[-1]
    shell.audio(speech(1000)).answer(candidate, "half")
    assert shell.of(Partial)[-1].unstable == "half"
    shell.audio(silence(900))
    for request in shell.requests[1:]:
        shell.answer(request, "whole")
    assert [final.text for final in shell.of(Final)] == ["whole"]


def test_the_clients_context_goes_with_all_that_is_asked_of_the_engine():
    start = '{"type":"start","sample_rate_hz":16000,"context":"Braun"}'
    shell = new_shell(start, answers=False).audio(speech(2000) + silence(900))
    assert {request.utterance.context for request in shell.requests} == {"Braun"}
    assert {request.urgency for request in shell.requests} == {Urgency.PARTIAL, Urgency.LIKELY}
    assert "Braun" not in repr(shell.requests)


def test_finals_leave_in_order_though_their_hypotheses_do_not_come_in_order():
    shell = new_shell(answers=False).audio((speech(800) + silence(900)) * 3)
    finals = [request for request in shell.requests if request.utterance.is_final]
    for request in reversed(finals):
        shell.answer(request, f"segment {request.segment}")
    assert [final.segment for final in shell.of(Final)] == [0, 1, 2]


def test_a_hypothesis_for_a_segment_that_is_over_changes_nothing():
    shell = new_shell(answers=False).audio(speech(2000) + silence(900))
    late, final = shell.requests[0], shell.requests[-1]
    shell.answer(final, "done")
    n_events = len(shell.events)
    shell.answer(late, "late").answer(final, "again")
    assert len(shell.events) == n_events


def test_a_partial_that_comes_after_its_segment_closed_is_neither_shown_nor_final():
    shell = new_shell(answers=False).audio(speech(2000) + silence(900))
    partial, final = shell.requests[0], shell.requests[-1]
    shell.answer(partial, "early words")
    assert shell.of(Partial) == []
    assert shell.of(Final) == []
    shell.answer(final, "all words")
    assert [event.text for event in shell.of(Final)] == ["all words"]


def test_stop_loses_no_word_that_was_still_being_said():
    shell = new_shell().audio(silence(500) + speech(1010)).text(STOP)
    [final] = shell.of(Final)
    assert final.text.count("w5") >= 4
    assert final.end_ms == 1510
    assert shell.close_code == 1000


def test_stop_finds_a_last_word_too_short_to_have_opened_a_segment():
    shell = new_shell().audio(silence(500) + speech(100)).text(STOP)
    assert len(shell.of(Final)) == 1


def test_the_end_is_recorded_told_and_closed_in_that_order():
    shell = new_shell().audio(speech(1000)).text(STOP)
    assert [type(output).__name__ for output in shell.outputs[-3:]] == ["Record", "Send", "Close"]
    [ended] = shell.of(Ended)
    assert (ended.reason, ended.usage.bytes, ended.usage.audio_ms) == ("stopped", 32000, 1000)
    record = shell.records[-1]
    assert isinstance(record, SessionEnded)
    assert (record.reason, record.close_code, record.segments) == ("stopped", 1000, 1)


def test_flush_gives_the_final_now_and_the_session_goes_on():
    shell = new_shell().audio(speech(1000)).text(FLUSH)
    assert len(shell.of(Final)) == 1
    shell.audio(silence(300) + speech(1000)).text(STOP)
    assert [final.segment for final in shell.of(Final)] == [0, 1]


def test_flush_in_silence_says_nothing():
    assert new_shell().audio(silence(1000)).text(FLUSH).of(Final) == []


ANSWERED = '{"type":"flush","answer":true}'


def test_a_flush_that_asks_for_it_is_answered_once_all_before_it_has_been_told():
    shell = new_shell().audio(speech(1000) + silence(900) + speech(800)).text(ANSWERED)
    shell.audio(speech(500)).text(STOP)
    told = [type(event) for event in shell.events if isinstance(event, Final | Flushed)]
    assert told == [Final, Final, Flushed, Final]
    assert shell.of(Flushed) == [Flushed(2700)]


def test_a_flush_in_silence_is_answered_at_once():
    assert new_shell().audio(silence(500)).text(ANSWERED).of(Flushed) == [Flushed(500)]


def test_every_flush_has_its_answer_and_every_channel():
    shell = new_shell(STEREO).audio(interleaved(speech(900), silence(900)))
    shell.text(ANSWERED).text('{"type":"flush","channel":1,"answer":true}').text(STOP)
    assert sorted(shell.of(Flushed), key=lambda told: told.channel) == [
        Flushed(900, 0),
        Flushed(900, 1),
        Flushed(900, 1),
    ]


def test_with_the_longest_silence_only_a_flush_ends_a_segment():
    start = '{"type":"start","sample_rate_hz":16000,"end_of_speech_ms":30000}'
    shell = new_shell(start).audio(speech(1000) + silence(5000) + speech(1000) + silence(3000))
    assert shell.of(Final) == []
    assert len(shell.text(ANSWERED).of(Final)) == 1


def test_silence_says_nothing_at_all():
    shell = new_shell().audio(silence(5000)).text(STOP)
    assert [type(event) for event in shell.events] == [Ready, Ended]


@pytest.mark.parametrize(
    "frame",
    ["", "null", "hello", "[]", "{}", '{"type":"begin"}', START, " " * 5000, "[" * 4000, "\ud800"],
)
def test_a_text_frame_that_is_not_the_protocol_ends_the_session(frame):
    shell = new_shell().audio(speech(1000)).text(frame)
    [error] = shell.of(ErrorEvent)
    assert error.code == "bad_message"
    assert shell.close_code == 4400
    assert len(shell.of(Final)) == 1, "what was said before is not lost"


def test_audio_before_start_ends_the_session():
    shell = new_shell("").audio(speech(20))
    assert shell.of(ErrorEvent)[0].code == "bad_message"
    assert shell.close_code == 4400


def test_flush_before_start_ends_the_session():
    assert new_shell("").text(FLUSH).close_code == 4400


def test_a_language_the_model_does_not_know_is_refused():
    shell = new_shell('{"type":"start","sample_rate_hz":16000,"language":"de"}')
    assert shell.of(ErrorEvent)[0].code == "language_unknown"
    assert shell.of(Ready) == []


def test_stop_before_start_is_a_clean_end():
    assert new_shell("").text(STOP).close_code == 1000


def test_frames_after_the_end_are_ignored():
    shell = new_shell(answers=False).audio(speech(1000)).text(STOP)
    shell.audio(speech(1000)).text("garbage")
    assert shell.close_code is None
    shell.answer(shell.requests[-1])
    assert shell.close_code == 1000


@pytest.mark.parametrize(
    ("limit", "code"),
    [({"session_bytes": 32_000}, "quota_bytes"), ({"session_audio_s": 1}, "quota_audio")],
)
def test_audio_over_the_budget_closes_the_connection_after_its_finals(limit, code):
    shell = new_shell(grant=limited(**limit)).audio(speech(3000))
    assert len(shell.of(Final)) == 1
    [error] = shell.of(ErrorEvent)
    assert error.code == code
    assert shell.close_code == 4413
    [ended] = shell.of(Ended)
    assert ended.usage.bytes == 32_000, "all that was granted, and nothing beyond"


@pytest.mark.parametrize(
    ("start", "limits", "grant", "wait_s", "code"),
    [
        ("", SessionSettings(), GRANT, 10.1, errors.START_LATE),
        (START, SessionSettings(), GRANT, 30.1, errors.IDLE),
        (START, SessionSettings(), replace(GRANT, expires_in_s=5.0), 5.1, errors.TOKEN_EXPIRED),
        (START, SessionSettings(session_limit_s=7.0), GRANT, 7.1, errors.SESSION_TOO_LONG),
        (START, SessionSettings(), limited(session_s=7), 7.1, errors.SESSION_TOO_LONG),
        (START, SessionSettings(), limited(idle_s=3), 3.1, errors.IDLE),
        (START, SessionSettings(idle_limit_s=3), limited(idle_s=9), 3.1, errors.IDLE),
    ],
)
def test_a_limit_of_time_ends_the_session(start, limits, grant, wait_s, code):
    shell = new_shell(start, limits=limits, grant=grant)
    assert shell.session.next_deadline_s < shell.clock() + wait_s
    shell.tick(wait_s - 0.2)
    assert shell.close_code is None
    shell.tick(0.2)
    assert shell.of(ErrorEvent)[0].code == code.code
    assert shell.close_code == code.close_code


@pytest.mark.parametrize("start", ["", START])
def test_keep_alive_keeps_alive_before_the_start_too(start):
    shell = new_shell(start)
    shell.text('{"type":"keep_alive"}')
    for _ in range(5):
        shell.tick(25).text('{"type":"keep_alive"}')
    assert shell.close_code is None


def test_a_session_that_never_starts_ends_with_its_longest_time():
    shell = new_shell("", limits=SessionSettings(session_limit_s=50.0))
    for _ in range(6):
        shell.tick(8.0).text('{"type":"keep_alive"}')
    assert shell.close_code is None
    shell.tick(2.1)
    assert shell.close_code == errors.SESSION_TOO_LONG.close_code
    assert shell.of(Ready) == []


def test_who_may_be_quiet_has_no_less_time_and_no_more_than_the_token_says():
    settings = SessionSettings(start_limit_s=10.0, idle_limit_s=30.0)
    quiet = with_quiet(settings, 20.0)
    assert (quiet.start_limit_s, quiet.idle_limit_s) == (20.0, 30.0)
    assert with_quiet(settings, 0.0) == settings
    assert spans_of(with_quiet(settings, 600.0), Limits(idle_s=40)).idle_limit_s == 40


def test_a_final_that_never_comes_ends_in_an_internal_error():
    shell = new_shell(answers=False).audio(speech(1000)).text(STOP)
    shell.tick(59)
    assert shell.close_code is None
    shell.tick(2)
    assert shell.of(ErrorEvent)[0].code == "internal"
    assert shell.of(Ended)[0].reason == "internal"
    assert shell.close_code == 1011


def test_an_engine_that_fails_a_final_ends_the_session():
    shell = new_shell(answers=False).audio(speech(1000) + silence(900))
    lost = shell.requests[-1]
    shell.session.receive_failure(lost.segment, lost.revision, shell.clock())
    shell.settle()
    assert shell.close_code == 1011
    assert shell.records[-1].reason == "internal"


def test_an_engine_that_fails_a_candidate_is_asked_again():
    shell = new_shell(answers=False).audio(speech(1000) + silence(200))
    failed = shell.requests[-1]
    shell.session.receive_failure(failed.segment, failed.revision, shell.clock())
    shell.settle().audio(silence(700))
    shell.answer(shell.requests[-1], "second try")
    assert shell.of(Final)[0].text == "second try"


def test_an_engine_that_fails_a_partial_is_asked_for_the_next():
    shell = new_shell(answers=False).audio(speech(1000))
    failed = shell.requests[-1]
    shell.session.receive_failure(failed.segment, failed.revision, shell.clock())
    shell.settle().audio(speech(1000))
    assert shell.requests[-1].revision > failed.revision
    assert shell.close_code is None


def test_a_failure_for_a_segment_that_is_over_is_nobodys_loss():
    shell = new_shell().audio(speech(1000) + silence(900))
    shell.session.receive_failure(0, 1, shell.clock())
    assert shell.settle().close_code is None


def test_partials_are_asked_for_soon_at_first_and_then_at_a_steady_cadence():
    shell = new_shell(answers=False).audio(speech(3000))
    ends_ms = [request.utterance.samples.size // 16 for request in shell.requests]
    assert ends_ms == [352, 608, 864, 1376, 1888, 2400, 2912]
    assert {request.urgency for request in shell.requests} == {Urgency.PARTIAL}


def test_a_newer_partial_does_not_wait_for_an_older_one():
    shell = new_shell(answers=False).audio(speech(3000))
    first, *_, last = shell.requests
    shell.answer(last, "three words here").answer(first, "late")
    assert [partial.unstable for partial in shell.of(Partial)] == ["three words here"]


def test_a_pause_asks_for_what_may_be_the_final_and_its_end_makes_it_so():
    shell = new_shell(answers=False).audio(speech(1000) + silence(900))
    assert [request.urgency for request in shell.requests][-1] is Urgency.LIKELY
    [changed] = [output for output in shell.outputs if isinstance(output, Reprioritise)]
    assert changed == Reprioritise(0, Urgency.FINAL)


def test_speech_that_goes_on_makes_a_partial_of_what_might_have_been_the_final():
    shell = new_shell(answers=False).audio(speech(1000) + silence(250) + speech(300))
    [changed] = [output for output in shell.outputs if isinstance(output, Reprioritise)]
    assert changed == Reprioritise(0, Urgency.PARTIAL)


def test_a_segment_that_ends_without_a_pause_asks_for_its_final_at_once():
    shell = new_shell(answers=False).audio(speech(1000)).text(FLUSH)
    assert shell.requests[-1].urgency is Urgency.FINAL


def test_a_peer_that_is_gone_hears_nothing_more_and_is_recorded_once():
    shell = new_shell(answers=False).audio(speech(1000))
    n_events = len(shell.events)
    shell.session.receive_gone(1006)
    shell.session.receive_gone(1006)
    shell.settle().answer(shell.requests[0])
    assert len(shell.events) == n_events
    assert [record.reason for record in shell.records] == [CLIENT_GONE]
    assert shell.close_code == 1006


def test_a_frame_the_websocket_layer_found_too_long_is_recorded_as_such():
    shell = new_shell()
    shell.session.receive_gone(1009)
    shell.settle()
    assert (shell.records[-1].reason, shell.close_code) == ("message_too_big", 1009)


def test_a_server_that_stops_sends_the_last_finals_first():
    shell = new_shell().audio(speech(1000))
    shell.session.refuse(errors.SHUTTING_DOWN, shell.clock())
    shell.settle()
    assert len(shell.of(Final)) == 1
    assert shell.close_code == 1012


def test_an_aborted_session_is_recorded_and_closed():
    shell = new_shell().audio(speech(1000))
    shell.session.abort()
    shell.session.abort()
    shell.settle()
    assert (shell.close_code, shell.records[-1].reason) == (1011, "internal")


def test_the_first_reason_to_end_stays_the_reason():
    shell = new_shell(answers=False).audio(speech(1000)).text("garbage")
    shell.session.refuse(errors.SHUTTING_DOWN, shell.clock())
    shell.settle().answer(shell.requests[-1])
    assert shell.records[-1].reason == "bad_message"


def test_audio_is_not_wanted_while_too_much_waits_for_its_scores():
    session = new_session(clock := ManualClock())
    session.receive_message(message_of(START), clock())
    session.actions()
    n_frames = 0
    while session.wants_audio:
        session.receive_audio(speech(100), clock())
        n_frames += 1
        assert n_frames < 30
    session.actions()
    session.receive_scores([0.0] * 62)
    assert session.wants_audio


def test_audio_is_not_wanted_while_too_many_finals_are_missing():
    shell = new_shell(answers=False)
    n_segments = 0
    while shell.session.wants_audio:
        shell.audio(speech(10_000) + silence(900))
        n_segments += 1
        assert n_segments < 10
    for request in shell.requests:
        shell.answer(request, "text")
    assert shell.session.wants_audio


def test_a_peer_that_is_not_listened_to_is_not_idle():
    shell = new_shell(answers=False)
    while shell.session.wants_audio:
        shell.audio(speech(10_000) + silence(900))
    for _ in range(60):
        shell.tick(1.0)
    assert shell.close_code is None
    for request in shell.requests:
        shell.answer(request, "text")
    shell.tick(29.0)
    assert shell.close_code is None
    shell.tick(2.0)
    assert shell.of(ErrorEvent)[0].code == "idle"


# --- what is left ---


def test_little_left_of_a_budget_is_told_twice_and_then_no_more():
    shell = new_shell(grant=limited(session_audio_s=10)).audio(silence(10_000))
    left_ms = [event.audio_ms_left for event in shell.of(Quota)]
    assert left_ms == [2000, 500]
    assert shell.close_code is None


def test_the_first_answer_says_what_there_is():
    grant = limited(session_audio_s=10, session_bytes=99, session_s=60, pace_percent=150)
    [ready] = new_shell(grant=grant).of(Ready)
    limits = ready.limits
    assert (limits.audio_ms, limits.bytes, limits.session_s) == (10_000, 99, 60)
    assert limits.pace_percent == 150


# --- a day, which the subject's sessions share ---


def test_a_day_is_reserved_in_pieces_ahead_of_what_is_sent_and_the_rest_given_back():
    shell = new_shell("", grant=limited(audio_s_per_day=60))
    shell.day_ms = 60_000
    shell.text(START).audio(silence(12_000)).text(STOP)
    assert shell.close_code == 1000
    assert shell.day_ms == 48_000
    assert shell.wishes_ms == [10_000, 10_000, -8_000]


def test_the_end_of_the_day_ends_the_session_with_its_finals_and_nothing_is_overspent():
    shell = new_shell("", grant=limited(audio_s_per_day=60))
    shell.day_ms = 13_000
    shell.text(START).audio(speech(20_000))
    assert shell.of(ErrorEvent)[0].code == "quota_daily"
    assert len(shell.of(Final)) == len(shell.of(SpeechStarted)) == 1
    assert shell.of(Ended)[0].usage.audio_ms == 13_000
    assert shell.day_ms == 0


def test_while_a_piece_of_the_day_is_asked_for_one_frame_more_is_heard_and_it_counts():
    shell = new_shell(grant=limited(audio_s_per_day=60))
    assert not shell.session.wants_audio
    shell.audio(silence(500), frame_bytes=16_000)
    assert shell.close_code is None
    shell.session.receive_reserved(10_000, 300)
    shell.settle()
    assert shell.session.wants_audio
    assert shell.audio(silence(20)).of(ErrorEvent)[0].code == "quota_daily"
    assert not any(isinstance(output, Reserve) and output.audio_ms < 0 for output in shell.outputs)


def test_without_a_limit_of_the_day_nothing_is_reserved():
    assert new_shell().audio(silence(60_000)).wishes_ms == []


# --- languages ---


def test_a_language_that_was_not_granted_is_refused():
    grant = replace(GRANT, languages=frozenset({"de"}))
    assert new_shell(START[:-1] + ',"language":"en"}', grant=grant).close_code == 4403


def test_who_may_have_one_language_only_gets_it_without_asking():
    grant = replace(GRANT, languages=frozenset({"en", "xx"}))
    [ready] = new_shell(grant=grant).of(Ready)
    assert ready.language == "en"


# --- tokens that end ---


def test_the_end_of_the_token_is_told_once_before_it_comes():
    shell = new_shell(grant=replace(GRANT, expires_in_s=100.0))
    alive = '{"type":"keep_alive"}'
    shell.tick(25).text(alive).tick(14).text(alive)
    assert shell.of(TokenExpiring) == []
    shell.tick(2).text(alive).tick(5)
    assert shell.of(TokenExpiring) == [TokenExpiring(59)]


def newer(**changes):
    return replace(GRANT, **{"token_id": "t-2", "expires_in_s": 7200.0, **changes})


def test_a_newer_token_lets_the_session_go_on_once_it_is_on_record():
    shell = new_shell(grant=replace(GRANT, expires_in_s=20.0, limits=Limits(session_s=900)))
    event = shell.session.consider_grant(newer(limits=Limits()), shell.clock())
    assert shell.settle().of(TokenRefreshed) == [], "until that is on record"
    shell.session.receive_grant(newer(limits=Limits()), shell.clock())
    shell.settle().tick(25)
    assert event == SessionRefreshed("s-1", "alice", "t-2", "t-1")
    assert shell.of(TokenRefreshed) == [TokenRefreshed(7200)]
    assert shell.close_code is None
    assert shell.session.grant.limits == Limits(session_s=900), "what it began with"
    assert shell.text(STOP).records[-1].token_id == newer().token_id


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        (newer(subject="bob"), "other_subject"),
        (newer(issuer="other"), "other_subject"),
        (newer(expires_in_s=3600.0), "not_later"),
        (newer(models=frozenset({"other"})), "not_for_this"),
        (newer(languages=frozenset({"de"})), "not_for_this"),
        (newer(languages=frozenset({"en"})), "not_for_this"),  # whatever is spoken is heard
    ],
)
def test_a_token_that_is_not_a_newer_one_of_the_same_subject_changes_nothing(grant, reason):
    shell = new_shell()
    assert shell.session.consider_grant(grant, shell.clock()) is None
    shell.settle()
    assert [event.code for event in shell.of(RefreshRefusedEvent)] == ["forbidden"]
    assert RefreshRefused("s-1", "alice", "t-1", reason) in shell.records
    assert shell.close_code is None


def test_a_newer_token_that_names_what_is_heard_anyway_is_a_good_one():
    shell = new_shell('{"type":"start","sample_rate_hz":16000,"language":"en"}')
    grant = newer(models=frozenset({"fake"}), languages=frozenset({"en"}))
    shell.session.receive_grant(grant, shell.clock())
    assert shell.settle().of(TokenRefreshed) == [TokenRefreshed(7200)]


def test_a_token_that_comes_before_the_start_says_which_language_may_be_heard():
    shell = new_shell("")
    shell.session.receive_grant(newer(languages=frozenset({"en"})), shell.clock())
    assert shell.settle().of(TokenRefreshed) == [TokenRefreshed(7200)]
    assert [ready.language for ready in shell.text(START).of(Ready)] == ["en"]


def test_who_shows_a_token_good_or_not_is_not_idle():
    shell = new_shell(limits=SessionSettings(idle_limit_s=10)).tick(8)
    shell.session.receive_grant(newer(), shell.clock())
    shell.settle().tick(8)
    shell.session.refuse_refresh(errors.UNAUTHENTICATED, "token_expired", shell.clock())
    shell.settle().tick(8)
    assert shell.close_code is None


def test_who_goes_on_trying_tokens_is_sent_away_with_the_last_finals():
    shell = new_shell().audio(speech(1000))
    for _ in range(3):
        shell.session.refuse_refresh(errors.UNAUTHENTICATED, "token_expired", shell.clock())
        shell.settle()
    assert shell.close_code == 4401
    assert len(shell.of(Final)) == 1


def test_a_token_that_is_no_longer_newer_when_it_is_on_record_is_not_taken():
    shell = new_shell()
    earlier = newer(token_id="t-3", expires_in_s=7000.0)  # noqa: S106 (an id)
    assert shell.session.consider_grant(earlier, shell.clock()) is not None
    shell.session.receive_grant(newer(), shell.clock())
    shell.session.receive_grant(earlier, shell.clock())
    assert [record.reason for record in shell.settle().records] == ["not_later"]
    assert shell.session.grant.token_id == newer().token_id


def test_a_refusal_that_is_not_the_peers_fault_sends_nobody_away():
    shell = new_shell()
    for _ in range(5):
        refusal = errors.TRAIL_UNAVAILABLE
        shell.session.refuse_refresh(refusal, refusal.code, shell.clock())
    assert shell.settle().close_code is None


def test_a_session_ends_from_its_last_audio_on():
    shell = new_shell(answers=False).audio(speech(1000))
    assert not shell.session.is_ending
    assert shell.text(STOP).session.is_ending
    assert not shell.session.is_closed


def test_after_the_end_no_token_is_taken():
    shell = new_shell(answers=False).audio(speech(1000)).text(STOP)
    shell.session.receive_grant(newer(), shell.clock())
    shell.session.refuse_refresh(errors.UNAUTHENTICATED, "token_expired", shell.clock())
    assert shell.settle().of(TokenRefreshed) == shell.of(RefreshRefusedEvent) == []


def test_the_last_finals_have_the_leeway_of_the_token_and_no_more():
    shell = new_shell(grant=replace(GRANT, expires_in_s=20.0), answers=False).audio(speech(1000))
    shell.tick(20.5)
    assert shell.close_code is None
    shell.tick(29.4)
    assert shell.close_code is None
    assert shell.session.last_moment_s == shell.clock() + 0.1
    shell.tick(0.2)
    assert shell.close_code == 1011


# --- pace ---


def seconds_of(shell, audio_s, pace, stall=None):
    """Send as a peer does whom TCP holds back, `pace` times as fast as it is spoken."""
    sent_ms = 0
    while sent_ms < audio_s * 1000 and shell.close_code is None:
        shell.tick(0.02 / pace)
        if stall and stall[0] <= sent_ms:
            shell.tick(stall[1])
            for _ in range(int(stall[1] / 0.02)):
                shell.audio(silence(20))
                sent_ms += 20
            stall = None
        while not shell.session.wants_audio and shell.close_code is None:
            shell.tick(max(0.001, shell.session.next_deadline_s - shell.clock()))
        shell.audio(silence(20))
        sent_ms += 20
    return shell.clock() - 1000.0


def test_ten_times_too_fast_is_read_slowly_and_then_sent_away():
    shell = new_shell(grant=limited(pace_percent=125))
    assert seconds_of(shell, 600, pace=10) <= 5.0
    assert shell.of(ErrorEvent)[0].code == "too_fast"
    assert shell.close_code == 4429


def test_who_speaks_as_people_do_is_never_held_back_not_even_after_a_stall():
    shell = new_shell(grant=limited(pace_percent=100))
    seconds_of(shell, 120, pace=1.0, stall=(30_000, 3.0))
    assert shell.close_code is None
    assert shell.session.wants_audio


def test_without_a_pace_nobody_is_held_back():
    shell = new_shell()
    seconds_of(shell, 120, pace=100)
    assert shell.close_code is None


# --- several channels ---

STEREO = START.replace("}", ',"channels":2}')


def interleaved(left: bytes, right: bytes) -> bytes:
    pairs = np.stack([np.frombuffer(left, "<i2"), np.frombuffer(right, "<i2")], axis=1)
    return pairs.tobytes()


def test_two_channels_are_heard_apart_and_numbered_together():
    left = speech(1000) + silence(2000)
    right = silence(1500) + speech(1000) + silence(500)
    shell = new_shell(STEREO).audio(interleaved(left, right), frame_bytes=1281).text(STOP)
    finals = shell.of(Final)
    assert [(final.channel, final.segment) for final in finals] == [(0, 0), (1, 1)]
    alone = new_shell().audio(left).text(STOP).of(Final)[0]
    assert (finals[0].start_ms, finals[0].end_ms) == (alone.start_ms, alone.end_ms)
    assert 900 < finals[1].start_ms < 1500


def test_a_channel_may_come_by_itself():
    shell = new_shell(STEREO)
    for data, channel in ((silence(900), 0), (speech(900), 1), (silence(900), 1)):
        shell.session.receive_audio(data, shell.clock(), channel)
        shell.settle()
    assert [final.channel for final in shell.text(STOP).of(Final)] == [1]


def test_audio_time_is_counted_for_each_channel():
    shell = new_shell(STEREO).audio(interleaved(silence(1000), silence(1000)))
    assert shell.session.usage.audio_ms == 2000


def test_one_channel_can_be_flushed_and_the_other_goes_on():
    shell = new_shell(STEREO).audio(interleaved(speech(900), speech(900)))
    shell.text('{"type":"flush","channel":1}')
    assert [ended.channel for ended in shell.of(SpeechEnded)] == [1]


def test_a_channel_that_is_not_there_cannot_be_flushed():
    shell = new_shell().text('{"type":"flush","channel":1}')
    assert shell.close_code == 4400


def test_a_change_of_language_ends_what_is_being_said():
    shell = (
        new_shell(answers=False)
        .audio(speech(900))
        .text('{"type":"change_language","language":"en"}')
    )
    assert len(shell.of(SpeechEnded)) == 1
    shell.audio(speech(900)).text(STOP)
    languages = {each.segment: each.utterance.language for each in shell.requests}
    assert languages == {0: None, 1: "en"}


def test_a_language_that_the_model_lacks_ends_the_session_when_it_is_changed_to():
    shell = new_shell().text('{"type":"change_language","language":"xx"}')
    assert shell.of(ErrorEvent)[0].code == "language_unknown"


@pytest.mark.parametrize(("encoding", "quiet"), [("mulaw", b"\xff"), ("alaw", b"\xd5")])
def test_telephone_audio_costs_a_byte_a_sample(encoding, quiet):
    start = f'{{"type":"start","sample_rate_hz":8000,"encoding":"{encoding}"}}'
    shell = new_shell(start).audio(quiet * 8000)
    assert shell.session.usage.audio_ms == 1000
    assert shell.text(STOP).of(Final) == []
