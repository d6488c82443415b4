"""Whom nobody looks at, and until when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.blocks import Block, Blocks
from server.forwarded import Networks


def blocks(*never, most=10_000):
    return Blocks(Networks(never), most)


def test_an_address_is_blocked_until_its_time_and_no_other_is():
    it = blocks()
    assert it.block("192.0.2.1", 100.0)
    assert it.is_blocked("192.0.2.1", 99.9)
    assert not it.is_blocked("192.0.2.2", 99.9)
    assert not it.is_blocked("192.0.2.1", 100.0)
    assert it.blocked(0.0) == []


def test_of_ipv6_the_customer_is_blocked():
    it = blocks()
    assert it.block("2001:db8::1", 100.0)
    assert it.is_blocked("2001:db8::ffff", 0.0)
    assert not it.is_blocked("2001:db8:0:1::1", 0.0)
    assert it.blocked(0.0) == [Block("2001:db8::/64", 100.0)]


@pytest.mark.parametrize("spelled", ["::ffff:192.0.2.1", "192.0.2.1"])
def test_one_address_has_one_block_however_it_is_spelled(spelled):
    it = blocks()
    it.block(spelled, 100.0)
    assert it.is_blocked("192.0.2.1", 0.0)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "fd00::5", "", "x"]
)
def test_this_machine_proxies_and_what_is_not_counted_are_never_blocked(address):
    it = blocks("10.0.0.0/8", "fd00::/8", "unix")
    assert not it.block(address, 100.0)
    assert not it.is_blocked(address, 0.0)


def test_a_later_end_wins():
    it = blocks()
    it.block("192.0.2.1", 100.0)
    it.block("192.0.2.1", 50.0)
    assert it.blocked(0.0) == [Block("192.0.2.1", 100.0)]
    it.block("192.0.2.1", 150.0)
    assert it.blocked(0.0) == [Block("192.0.2.1", 150.0)]


@pytest.mark.parametrize("named", ["2001:db8::7", "2001:db8::/64"])
def test_a_block_is_taken_back_by_what_is_told_of_it_or_by_any_address_in_it(named):
    it = blocks()
    it.block("2001:db8::1", 100.0)
    assert it.unblock(named)
    assert not it.is_blocked("2001:db8::1", 0.0)
    assert not it.unblock(named)


def test_the_one_that_ends_first_is_told_first():
    it = blocks()
    for last, until_s in ((1, 30.0), (2, 10.0), (3, 20.0)):
        it.block(f"192.0.2.{last}", until_s)
    assert [block.until_s for block in it.blocked(5.0)] == [10.0, 20.0, 30.0]
    assert [block.until_s for block in it.blocked(15.0)] == [20.0, 30.0]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), max_size=60))
def test_what_is_held_has_a_bound_and_those_that_last_longest_stay(tried):
    it = blocks(most=5)
    for last, until_s in tried:
        it.block(f"192.0.2.{last}", float(until_s))
        assert len(it.blocked(-1.0)) <= 5
