"""Refusals to rows and counts."""

from hypothesis import given
from hypothesis import strategies as st

from security.door_events import HandshakeRefused, HandshakeRefusedOften
from server.refusals import RefusalSettings, Tally


def refused(address="192.0.2.1", reason="token_missing"):
    return HandshakeRefused(address, None, None, None, 401, reason)


def tally(rows=3, most=10):
    return Tally(RefusalSettings(rows, most))


def test_a_few_refusals_have_rows_of_their_own_and_the_rest_is_one():
    it = tally()
    rows = [it.receive(refused(), 0.0, 7) for _ in range(5)]
    assert rows == [[refused()]] * 3 + [[]] * 2
    assert it.due(59.9) == []
    assert it.next_deadline_s == 60.0
    assert it.due(60.0) == [HandshakeRefusedOften("192.0.2.1", "token_missing", 2, 7)]
    assert it.due(61.0) == []


def test_a_count_that_is_due_is_written_with_the_next_refusal():
    it = tally(rows=1)
    for at_s in (0.0, 1.0):
        it.receive(refused(), at_s, int(at_s))
    often = HandshakeRefusedOften("192.0.2.1", "token_missing", 1, 1)
    assert it.receive(refused(), 60.0, 60) == [often, refused()]


def test_addresses_and_reasons_are_counted_apart():
    it = tally(rows=1, most=100)
    every = [refused(), refused(reason="revoked"), refused("192.0.2.2")]
    for event in every * 2:
        it.receive(event, 0.0, 0)
    counted = [(often.peer_address, often.reason, often.n_refused) for often in it.flush()]
    assert counted == [(event.peer_address, event.reason, 1) for event in every]


def test_of_ipv6_a_customer_is_one():
    it = tally(rows=1)
    for last in range(5):
        it.receive(refused(f"2001:db8::{last}"), 0.0, 0)
    [often] = it.flush()
    assert (often.peer_address, often.n_refused) == ("2001:db8::/64", 4)


def test_a_peer_without_an_address_is_counted_too():
    it = tally(rows=1)
    for _ in range(3):
        it.receive(refused(""), 0.0, 0)
    [often] = it.flush()
    assert (often.peer_address, often.n_refused) == (None, 2)


def test_a_stranger_with_a_hundred_thousand_addresses_is_bounded():
    it = tally(rows=20, most=600)
    rows = 0
    for index in range(100_000):
        address = f"198.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        rows += len(it.receive(refused(address), 0.0, 0))
    assert rows == 600
    assert it.flush() == [HandshakeRefusedOften(None, "many_addresses", 99_400, 0)]
    assert len(it._rows) == len(it._counts) == 0


def test_what_is_left_is_told_at_the_end_and_then_nothing():
    it = tally(rows=1)
    for _ in range(2):
        it.receive(refused(), 0.0, 0)
    assert [often.n_refused for often in it.flush()] == [1]
    assert it.flush() == []
    assert it.next_deadline_s == float("inf")


arrivals = st.lists(
    st.tuples(
        st.floats(0, 40),
        st.integers(0, 6).map(lambda last: f"192.0.2.{last}"),
        st.sampled_from(["token_missing", "revoked"]),
    ),
    max_size=200,
)


@given(arrivals, st.integers(1, 4), st.integers(1, 12))
def test_every_refusal_is_in_one_row_or_one_count_and_a_minutes_rows_are_bounded(came, rows, most):
    it, now_s, written = tally(rows, most), 0.0, []
    for wait_s, address, reason in came:
        now_s += wait_s
        event = refused(address, reason)
        written += [(now_s, each) for each in it.receive(event, now_s, 0)]
        assert len(it._rows) <= most
        assert len(it._counts) <= most // rows + 1
    written += [(now_s, each) for each in it.flush()]
    own = [event for _, event in written if isinstance(event, HandshakeRefused)]
    counted = sum(e.n_refused for _, e in written if isinstance(e, HandshakeRefusedOften))
    assert len(own) + counted == len(came)
    for start_s, _ in written:
        within = [event for at_s, event in written if start_s <= at_s < start_s + 60]
        assert len(within) <= 2 * (most + most // rows + 1)
