"""What a client may do inside a window, and what the track must still hold then."""

from server.wire import SpeechEnded
from tests.fakes import FLUSH, START, STOP, new_shell, silence, speech


def test_a_flush_inside_a_window_drops_nothing_that_is_still_to_be_scored():
    shell = new_shell(START)
    # 34 windows and a part of one: enough to be dropped, none of it scored when the flush comes
    shell.session.receive_audio(speech(1100), shell.clock())
    shell.text(FLUSH)
    shell.audio(silence(40) + speech(500) + silence(700)).text(STOP)
    assert shell.close_code == 1000


def test_who_spoke_for_so_long_that_the_segment_was_cut_is_told_so_and_nobody_else():
    shell = new_shell(START).audio(speech(13_000) + silence(300) + speech(1000) + silence(800))
    assert [event.is_cut is True for event in shell.of(SpeechEnded)] == [True, False]
