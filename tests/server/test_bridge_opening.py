"""From the connection to somebody who is admitted, or is not."""

import pytest

from server import errors
from server.audio import AudioFormat, Encoding
from server.bridge_values import Admit, ToPeer
from server.dialects.values import (
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    Flush,
    LanguageChanged,
    Opening,
    Reply,
    Stopped,
)
from tests.server.bridged import BOTH, FRAME, LANGUAGES, OPENING, READY, Bridged, FakeDialect


def test_a_call_that_opens_asks_once_who_it_is():
    bridged = Bridged().hear(OPENING).hear(OPENING)
    assert bridged.actions == [Admit(OPENING)]
    assert bridged.bridge.is_asking


def test_ten_frames_may_come_before_anybody_is_known_and_no_more():
    bridged = Bridged()
    for _ in range(10):
        bridged.frame()
    assert bridged.actions == []
    bridged.frame()
    assert bridged.ended == [Ended(errors.UNAUTHENTICATED)]
    assert bridged.sent == [Close(4401)]
    assert len(bridged.dialect.frames) == 10


def test_frames_do_not_count_while_it_is_asked_who_it_is():
    """That takes our time and not the peer's, and nothing of them is kept."""
    bridged = Bridged().hear(OPENING)
    for _ in range(20):
        bridged.frame()
    assert bridged.bridge.is_asking


@pytest.mark.parametrize("frame", ["x" * 4096, b"x" * 4096])
def test_eight_kibibytes_may_come_before_anybody_is_known_and_no_more(frame):
    bridged = Bridged().frame(frame).frame(frame)
    assert not bridged.bridge.is_over
    bridged.frame(frame[:1])
    assert bridged.ended == [Ended(errors.UNAUTHENTICATED)]


def test_a_frame_over_the_bound_is_not_read():
    bridged = Bridged().hear(OPENING, frame="x" * 8193)
    assert bridged.dialect.frames == []
    assert bridged.of(Admit) == []


def test_a_call_that_does_not_open_in_five_seconds_is_refused():
    bridged = Bridged().move(4.9)
    assert not bridged.bridge.is_over
    bridged.move(0.1)
    assert bridged.ended == [Ended(errors.START_LATE)]
    assert bridged.bridge.is_over


def test_opening_late_gives_no_more_time_to_be_admitted():
    bridged = Bridged().move(4).hear(OPENING).move(1)
    assert bridged.ended == [Ended(errors.START_LATE)]


def test_who_was_known_before_may_send_more_and_open_later_but_not_stay_for_ever():
    bridged = Bridged(is_known=True)
    for _ in range(20):
        bridged.frame("x" * 1000)
    bridged.move(9)
    assert not bridged.bridge.is_over
    bridged.move(1)
    assert bridged.ended == [Ended(errors.START_LATE)]


def test_audio_before_anybody_is_admitted_is_neither_kept_nor_counted():
    bridged = Bridged().hear(Audio(FRAME, 0)).hear(OPENING, Audio(FRAME, 0), Flush())
    bridged.hear(Audio(FRAME, 0, number=7), LanguageChanged("de"))
    bridged.admit().hear(Audio(b"\x01" * 160, 0, number=8))
    assert bridged.audio == [(0, b"\x01" * 160)]
    assert bridged.types == ["start"]
    assert not any(
        (bridged.bridge.losses.lost_frames, bridged.bridge.losses.dropped_ms),
    )


def test_the_start_says_what_the_call_is():
    audio_format = AudioFormat(Encoding.PCM_S16BE, 16_000)
    opening = Opening(("inbound", "outbound"), audio_format, language="de")
    assert Bridged(end_of_speech_ms=400).hear(opening).admit().texts == [
        {
            "type": "start",
            "encoding": "pcm_s16be",
            "sample_rate_hz": 16_000,
            "channels": 2,
            "language": "de",
            "end_of_speech_ms": 400,
        }
    ]


@pytest.mark.parametrize(("named", "heard"), [("de", "de"), (None, "en")])
def test_a_language_that_the_wire_names_comes_before_that_of_a_ticket(named, heard):
    bridged = Bridged().hear(Opening(("inbound",), OPENING.audio_format, language=named))
    assert bridged.admit("en").texts[0]["language"] == heard


def test_the_wire_is_told_that_it_is_admitted_when_the_session_is_ready():
    dialect = FakeDialect()
    dialect.answers[Admitted] = ["opened"]
    bridged = Bridged(dialect).hear(OPENING).admit()
    assert bridged.sent == []
    bridged.event(READY)
    assert dialect.told == [Admitted(LANGUAGES, "en")]
    assert bridged.sent == ["opened"]


def test_who_is_refused_is_told_why_and_closed():
    bridged = Bridged().hear(OPENING).refuse(errors.FORBIDDEN)
    assert bridged.ended == [Ended(errors.FORBIDDEN)]
    assert bridged.actions[-1] == ToPeer(Close(4403))
    assert bridged.refusal == errors.FORBIDDEN


@pytest.mark.parametrize("late", ["refuse", "admit"])
def test_an_answer_after_the_wire_has_stopped_changes_nothing(late):
    bridged = Bridged(FakeDialect(closes=False)).hear(OPENING).hear(Stopped())
    bridged.refuse(errors.FORBIDDEN) if late == "refuse" else bridged.admit()
    assert bridged.ended == [Ended(None)]
    assert bridged.texts == []


def test_somebody_admitted_without_having_opened_is_nobody():
    assert Bridged().admit().actions == []


@pytest.mark.parametrize("tracks", [(), ("a", "b", "c")])
def test_a_call_of_no_track_or_of_three_is_refused(tracks):
    bridged = Bridged().hear(Opening(tracks, OPENING.audio_format))
    assert bridged.ended == [Ended(errors.AUDIO_UNREADABLE)]
    assert bridged.of(Admit) == []


@pytest.mark.parametrize("heard", [[], [BOTH]])
def test_a_fault_before_anybody_is_admitted_ends_it_at_once(heard):
    bridged = Bridged().hear(*heard, Fault(errors.BAD_REQUEST, "frame_malformed"), Reply("late"))
    assert bridged.ended == [Ended(errors.BAD_REQUEST)]
    assert bridged.actions[-1] == ToPeer(Close(4400))


@pytest.mark.parametrize("heard", [[], [OPENING]])
def test_a_peer_that_goes_before_it_is_admitted_is_forgotten(heard):
    bridged = Bridged().hear(*heard).gone()
    assert bridged.bridge.is_over
    assert bridged.ended == []


def test_a_reply_is_sent_before_anybody_is_known():
    assert Bridged().hear(Reply("pong")).sent == ["pong"]


def test_a_probe_is_told_that_we_are_here_and_closes_without_a_session():
    probe = Opening((), OPENING.audio_format, is_probe=True)
    bridged = Bridged(FakeDialect(closes=False)).hear(probe)
    bridged.bridge.receive_probed(LANGUAGES, bridged.clock())
    bridged.hear(Audio(FRAME)).hear(Stopped())
    assert bridged.dialect.told == [Admitted(LANGUAGES, None), Ended(None)]
    assert bridged.texts == bridged.audio == []
    assert bridged.gone().bridge.is_over


@pytest.mark.parametrize("end", ["stays", "gone", "fault"])
def test_a_probe_ends_however_it_goes(end):
    bridged = Bridged().hear(Opening((), OPENING.audio_format, is_probe=True))
    bridged.bridge.receive_probed(LANGUAGES, bridged.clock())
    if end == "gone":
        bridged.gone()
    elif end == "fault":
        bridged.hear(Fault(errors.BAD_REQUEST, "x"))
    else:
        bridged.move(10)
    assert bridged.bridge.is_over


def test_nobody_is_probed_who_did_not_ask():
    bridged = Bridged()
    bridged.bridge.receive_probed(LANGUAGES, bridged.clock())
    assert bridged.settle().dialect.told == []
