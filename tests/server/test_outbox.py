"""What is written next, and what is kept for a peer that comes back."""

from hypothesis import given
from hypothesis import strategies as st

from server import wire
from server.outbox import Outbox

READY = wire.Ready("s", "m", None, 400, wire.Limits(None, None, 60))


def event(number: int) -> wire.ServerEvent:
    return wire.SpeechEnded(number, number)


def written(outbox: Outbox, most: int = 1000) -> list[wire.ServerEvent]:
    events = []
    while len(events) < most and (next_event := outbox.next_event()) is not None:
        outbox.receive_written(next_event)
        events.append(next_event)
    return events


def filled(n_events: int, most_kept: int = 100) -> Outbox:
    outbox = Outbox(8, most_kept)
    outbox.keep()
    for number in range(n_events):
        outbox.put(event(number))
    return outbox


def test_events_are_written_in_order_and_forgotten():
    outbox = Outbox(8, 100)
    for each in (READY, event(0), event(1)):
        outbox.put(each)
    assert not outbox.is_delivered
    assert written(outbox) == [READY, event(0), event(1)]
    assert outbox.is_delivered
    assert not outbox.go_on(0, 0)


def test_it_is_full_of_what_is_not_written():
    outbox = filled(8)
    assert outbox.is_full
    written(outbox, most=1)
    assert not outbox.is_full


def test_what_is_written_is_kept_until_the_peer_has_it():
    outbox = filled(3)
    written(outbox)
    assert not outbox.is_delivered
    assert outbox.receive_count(2)
    assert outbox.go_on(2, 640)
    assert written(outbox) == [wire.Resumed(640), event(2)]
    assert outbox.receive_count(3)
    assert outbox.is_delivered


def test_a_peer_may_have_more_than_we_knew_that_was_written():
    outbox = filled(3)
    assert outbox.go_on(3, 0)
    assert written(outbox) == [wire.Resumed(0)]


def test_a_count_of_what_was_never_said_is_not_believed():
    outbox = filled(3)
    written(outbox, most=2)
    assert not outbox.receive_count(3)
    assert not outbox.go_on(4, 0)


def test_what_the_peer_has_is_not_written_again_even_if_it_says_so():
    outbox = filled(3)
    written(outbox)
    assert outbox.receive_count(2)
    assert outbox.receive_count(1), "an old count is no harm"
    assert not outbox.go_on(1, 0)


def test_a_peer_that_never_says_what_it_has_is_not_kept_for():
    outbox = filled(12, most_kept=10)
    written(outbox)
    assert not outbox.is_keeping
    assert outbox.is_delivered
    assert not outbox.go_on(12, 0)


def test_only_the_newest_count_of_audio_is_told_and_it_has_no_number():
    outbox = filled(1)
    outbox.tell_audio(10)
    outbox.tell_audio(20)
    assert written(outbox) == [wire.AudioReceived(20), event(0)]
    assert outbox.n_events == 1


def test_audio_that_came_while_its_count_was_written_is_told_next():
    outbox = filled(0)
    outbox.tell_audio(10)
    first = outbox.next_event()
    outbox.tell_audio(20)
    outbox.receive_written(first)
    assert written(outbox) == [wire.AudioReceived(20)]


def test_a_count_of_audio_for_a_broken_connection_is_not_for_the_next():
    outbox = filled(0)
    outbox.tell_audio(10)
    assert outbox.go_on(0, 30)
    assert written(outbox) == [wire.Resumed(30)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 7), st.booleans())))
def test_every_event_comes_once_and_in_order_whatever_is_lost(steps):
    outbox = Outbox(8, 1000)
    outbox.keep()
    said: list[wire.ServerEvent] = []
    had: list[wire.ServerEvent] = []
    for n_said, n_written, n_arrived, is_told in steps:
        for _ in range(n_said):
            said.append(event(len(said)))
            outbox.put(said[-1])
        numbered = [e for e in written(outbox, n_written) if not isinstance(e, wire.Resumed)]
        had += numbered[:n_arrived]
        is_whole = n_arrived >= len(numbered)
        if is_whole and is_told:
            assert outbox.receive_count(len(had))
        elif not is_whole:
            assert outbox.go_on(len(had), 0)
    assert outbox.go_on(len(had), 0)
    had += [e for e in written(outbox) if not isinstance(e, wire.Resumed)]
    assert had == said
