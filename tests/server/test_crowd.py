"""Connections in, places out; nobody takes more than a share, or fills the log."""

import pytest

from server.crowd import Crowd, customer_of
from server.forwarded import Networks

NOBODY = Networks([])


def test_a_stranger_gets_so_many_places_and_no_more():
    crowd = Crowd(10, 2, NOBODY)
    first, second = crowd.enter("192.0.2.1"), crowd.enter("192.0.2.1")
    assert first is not None
    assert second is not None
    assert crowd.enter("192.0.2.1") is None
    assert crowd.enter("192.0.2.2") is not None
    assert (crowd.total, crowd.n_refused) == (3, 1)
    first.leave()
    assert crowd.enter("192.0.2.1") is not None


def test_all_together_get_so_many_places_and_no_more():
    crowd = Crowd(2, 10, Networks(["127.0.0.1"]))
    assert crowd.enter("192.0.2.1") is not None
    assert crowd.enter("127.0.0.1") is not None
    assert crowd.enter("192.0.2.2") is None
    assert crowd.enter("127.0.0.1") is None


def test_a_place_is_given_back_once():
    crowd = Crowd(10, 2, NOBODY)
    place, _other = crowd.enter("192.0.2.1"), crowd.enter("192.0.2.1")
    place.leave()
    place.leave()
    assert crowd.total == 1


def test_those_that_the_settings_name_are_not_counted():
    crowd = Crowd(10, 0, Networks(["127.0.0.0/8", "::1"]))
    assert crowd.enter("127.9.9.9") is not None
    assert crowd.enter("::1") is not None
    assert crowd.enter("192.0.2.1") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth1"),
    ],
)
def test_one_customer_is_counted_as_one(one, other):
    assert customer_of(one) == customer_of(other)
    crowd = Crowd(10, 1, NOBODY)
    assert crowd.enter(one) is not None
    assert crowd.enter(other) is None


def test_neighbours_are_counted_each():
    assert customer_of("2001:db8:1:2::1") != customer_of("2001:db8:1:3::1")


def test_an_address_is_told_of_once_a_minute():
    crowd = Crowd(0, 0, NOBODY)
    assert crowd.is_worth_telling("192.0.2.1", 0.0)
    assert not crowd.is_worth_telling("192.0.2.1", 59.0)
    assert crowd.is_worth_telling("192.0.2.2", 59.0)
    assert crowd.is_worth_telling("192.0.2.1", 60.0)


def test_many_addresses_cannot_fill_the_log_or_the_memory():
    crowd = Crowd(0, 0, NOBODY)
    told = [crowd.is_worth_telling(f"192.0.{n // 256}.{n % 256}", 0.0) for n in range(5000)]
    assert told.count(True) == 1024
    assert crowd.is_worth_telling("198.51.100.1", 61.0)
